"""`mesh new-model`: a model's file to begin from, and what to put into mesh.toml; with --add it is put there."""

import keyword
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.files import write_file
from tickmesh.bus.names import KERNEL_BYTES
from tickmesh.bus.settings import DEFAULT_MODELS
from tickmesh.nodes.models import loading
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, out

TEMPLATES = ("mean_reversion", "features")  # and learned, of `mesh train`, which needs weights
_NAME = re.compile(rf"[a-z][a-z0-9_]{{0,{KERNEL_BYTES - 1}}}")


class Wish(NamedTuple):
    """A model's file that is wanted. `add`: in mesh.toml too; `replace`: a model of the same template may be there already.

    With `add` it may be there too, as `mesh new-model` without --add has written it, while mesh.toml has no model of its name.
    """

    config: Config
    name: str
    template: str
    add: bool
    replace: bool = False


def new_model(config: Config, name: str, template: str, add: bool) -> JsonObject:
    """Writes models/NAME.py of a template, and with `add` its table into mesh.toml; gives what `--json` prints.

    Raises UsageFailure for a name or template that cannot be, Failure where something is there already or cannot be written;
    then nothing was changed.
    """
    if template not in TEMPLATES:
        raise UsageFailure(f"there is no template {template!r}; there are {', '.join(TEMPLATES)}")
    try:
        return written(Wish(config, name, template, add))
    except OSError as error:
        raise Failure(f"{error.filename or name} cannot be written: {error.strerror or error}") from None


def written(wish: Wish) -> JsonObject:
    """Does what is wished. Raises as new_model does, and OSError."""
    config, name = wish.config, wish.name
    path, text = checked(wish)
    if not path.exists():
        config.models_dir.mkdir(parents=True, exist_ok=True)
        write_file(path, _source(wish.template))
    if text:
        write_file(_settings(config), text.encode())
    return {
        "model": name, "file": str(path), "template": wish.template, "table": _table(name),
        "hosted": not {"model", f"model-{name}"}.isdisjoint(config.host),
        "added": any(model.name == name for model in config.models) or bool(text), "settings": str(_settings(config)),
    }  # fmt: skip


def checked(wish: Wish) -> tuple[Path, str]:
    """(the model's file, the new text of mesh.toml or "" where it stays). Raises as new_model does; nothing is written."""
    config, name = wish.config, wish.name
    _check_name(name)
    path = config.models_dir / f"{name}.py"
    known = any(model.name == name for model in config.models)
    if other := next((model for model in config.models if model.name == name and model.kernel != name), None):
        whose = "a default model" if other in DEFAULT_MODELS else f"a model of {_settings(config)}"
        raised = UsageFailure if other in DEFAULT_MODELS else Failure  # as for a shipped file's name
        raise raised(f"{name!r} is the name of {whose}, of kernel {other.kernel}: choose another name; nothing was written")
    may_be_there = wish.replace or (wish.add and not known)
    if path.is_symlink() or (path.exists() and not (may_be_there and path.read_bytes() == _source(wish.template))):
        own = f" and is no model of the template {wish.template}, unchanged" if may_be_there else ""
        by_hand = f". Its table in {_settings(config)} would be:\n{_table(name)}" if wish.add and not known else ""
        raise Failure(f"{path} is there already{own}, and is left as it is: choose another name, or edit that file{by_hand}")
    if not wish.add or (wish.replace and known):
        return path, ""
    if known:
        raise Failure(f"{_settings(config)} has a model {name!r} already: choose another name, or do without --add")
    return path, _added(config, name)


def _source(template: str) -> bytes:
    """The text of a template."""
    return (Path(loading.__file__).parent / "templates" / f"{template}.py").read_bytes()


def _settings(config: Config) -> Path:
    return config.root / "mesh.toml"


def _table(name: str) -> str:
    return f'[[models]]\nname = "{name}"\nkernel = "{name}"\ninstruments = ["*"]\n'


def _check_name(name: str) -> None:
    """Raises UsageFailure for a name that a file of Python, a signal and a process could not all have, or that is taken."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageFailure(
            f"{name!r} cannot be a model's name; it should be 1 to {KERNEL_BYTES} of a–z 0–9 _, a letter first, and no word of "
            "Python, like my_spread"
        )
    here = Path(loading.__file__).parent
    if (here / f"{name}.py").exists() or (here / name).is_dir():
        raise UsageFailure(f"{name} is the name of a shipped file, which would come first: choose another name")


def _added(config: Config, name: str) -> str:
    """The text of mesh.toml with the model's table at its end. Raises Failure where it could not be read then."""
    settings, table = _settings(config), _table(name)
    before = settings.read_text()
    text = before + ("" if not before or before.endswith("\n") else "\n") + ("\n" if before else "") + table
    try:
        load(config.root, {"models": msgspec.toml.decode(text)["models"]})
    except (msgspec.DecodeError, ConfigError) as error:
        raise Failure(
            f"the table of {name} cannot be added to {settings} ({error}); nothing was changed. Do without --add, and put it "
            f"there by hand:\n{table}"
        ) from None
    return text


def show(result: JsonObject) -> None:
    """Prints for a person what there is now, and what to do next."""
    name = result["model"]
    out.print(f"{result['file']}: a model of the template {result['template']}, which can run as it is. Next:", markup=False)
    out.print(f"  mesh check-model {name}        # tries it on made events: after every edit", markup=False)
    out.print(f"  mesh run-model {name}          # its signals over what was recorded; nothing is published", markup=False)
    if result["added"]:
        out.print(f"It is in {result['settings']}:", markup=False)
    else:
        out.print(f"In {result['settings']} (or again with --add):", markup=False)
    for line in result["table"].splitlines():
        out.print(f"  {line}", markup=False)
    out.print("Signals of every model are traded; [[strategies]] choose which (docs/strategies.md). Then:", markup=False)
    out.print("  mesh reload                      # starts it; after an edit restarts it", markup=False)
    if not result["hosted"]:
        restart = f"supervisorctl -c supervisor.conf restart model-{name}"
        out.print(f"  {restart}    # the same for an edited file alone", markup=False)
