"""Completion of `mesh` and `tap` in bash, zsh and fish: what is installed for a shell.

The shell asks the program itself, by the path that was typed: `.venv/bin/mesh` of any folder, or one on the PATH. It says in
the environment which words there are (COMP_WORDS, COMP_CWORD, as bash has them), and reads a candidate a line.
"""

import os
import shlex
from pathlib import Path
from typing import Literal

from tickmesh.bus.files import write_file
from tickmesh.bus.space import refusal
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure

Shell = Literal["bash", "zsh", "fish"]
SHELLS: tuple[Shell, ...] = ("bash", "zsh", "fish")
PROGRAMS = ("mesh", "tap")
MARK = "# completion of tickmesh"  # at the end of the line in a shell's start file, by which it is found again
BASH = """\
_tickmesh_complete() {
    local IFS=$'\\n' variable="_${1##*/}"
    mapfile -t COMPREPLY < <(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \\
        "${variable^^}_COMPLETE=complete_bash" "${1/#\\~/$HOME}" 2>/dev/null)
    [[ ${COMPREPLY[*]} ]] || COMPREPLY=()
}
complete -o default -F _tickmesh_complete mesh tap
"""
ZSH = """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_tickmesh_complete() {
    local name=${words[1]:t}
    local -a found
    found=(${(f)"$(env COMP_WORDS="${(F)words}" COMP_CWORD=$((CURRENT - 1)) \\
        _${(U)name}_COMPLETE=complete_bash ${~words[1]} 2>/dev/null)"})
    (( $#found )) && compadd -a found || _files
}
compdef _tickmesh_complete mesh tap
"""
FISH = """\
function __tickmesh_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l variable _(string upper (basename $words[1]))_COMPLETE
    set -l found (env COMP_WORDS=(string join \\n -- $words | string collect) COMP_CWORD=(math (count $words) - 1) \\
        $variable=complete_bash (string replace -r '^~' $HOME $words[1]) 2>/dev/null)
    test -n "$found" && printf '%s\\n' $found || __fish_complete_path (commandline -ct)
end
complete -c {program} -f -a '(__tickmesh_complete)'
"""


def script(shell: Shell, program: str = "mesh") -> str:
    """What a shell reads; of fish for one program, which each has a file of its own there."""
    return {"bash": BASH, "zsh": ZSH, "fish": FISH.replace("{program}", program)}[shell]


def shell_of(named: str) -> Shell:
    """The shell that is named, else that of the environment (SHELL). Raises UsageFailure for one that is none of ours."""
    name = named or Path(os.environ.get("SHELL", "")).name
    for shell in SHELLS:
        if shell == name:
            return shell
    seen = f"SHELL is {name!r}" if name else "SHELL is not set"
    raise UsageFailure(
        f"{seen if not named else repr(named)}, which has no completion here; --shell is one of {', '.join(SHELLS)}"
    )


def install(shell: Shell) -> JsonObject:
    """Writes the completion of both programs for this user; gives what was written: nothing the second time. Raises Failure."""
    written = []
    try:
        for path, text in _files(shell).items():
            if not path.is_file() or path.read_text() != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, text.encode())
                written.append(str(path))
        start = _start_file(shell)
        if start is not None and _line(shell) not in (lines := _lines_of(start)):
            kept = [line for line in lines if not line.endswith(MARK)]
            start.write_text("\n".join([*kept, _line(shell)]) + "\n")  # in its place: it may be a link, with a mode of its own
            written.append(str(start))
    except OSError as error:
        place = Path(error.filename or Path.home())
        raise Failure(f"{place} cannot be written: {refusal(error, place)}") from None
    return {"shell": shell, "written": written}


def remove(shell: Shell) -> JsonObject:
    """Takes away what `install` has written; gives what was changed. Raises Failure."""
    changed = []
    try:
        for path in _files(shell):
            if path.is_file():
                path.unlink()
                changed.append(str(path))
        start = _start_file(shell)
        lines = [] if start is None else _lines_of(start)
        kept = [line for line in lines if not line.endswith(MARK)]
        if start is not None and kept != lines:
            start.write_text("".join(f"{line}\n" for line in kept))
            changed.append(str(start))
    except OSError as error:
        place = Path(error.filename or Path.home())
        raise Failure(f"{place} cannot be written: {refusal(error, place)}") from None
    return {"shell": shell, "removed": changed}


def _files(shell: Shell) -> dict[Path, str]:
    home = Path.home()
    if shell == "fish":
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions"
        return {folder / f"{program}.fish": script(shell, program) for program in PROGRAMS}
    folder = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "tickmesh"
    return {folder / f"completion.{shell}": script(shell)}


def _start_file(shell: Shell) -> Path | None:
    """The file that a shell reads when it starts; None of fish, which finds its files itself."""
    if shell == "bash":
        return Path.home() / ".bashrc"
    return Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc" if shell == "zsh" else None


def _line(shell: Shell) -> str:
    (path,) = _files(shell)
    name = shlex.quote(str(path))
    return f"[ -r {name} ] && . {name} {MARK}"


def _lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
