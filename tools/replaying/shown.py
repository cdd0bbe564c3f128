"""What a check found, for a person."""

from tickmesh.tools import terminal
from tickmesh.tools.terminal import JsonObject


def show(result: JsonObject) -> None:
    """Prints the comparison, and the first divergence with its inputs."""
    nodes = dict(result["models"])
    if "executor" in result:
        nodes["executor"] = result["executor"]
    _line(f"replayed {result['events']} events up to seq {result['last_seq']}")
    if result["from_seq"] > 1 or result["to_seq"] is not None:
        _line(f"compared is what events {result['from_seq']} to {result['to_seq'] or result['last_seq']} caused")
    for name, one in nodes.items():
        word = "FAILS" if "fault" in one else "the same" if one["ok"] else "DIFFERENT"
        more = f", {one['unsaid']} more that were not published (from event {one['unsaid_from']} on)" if one["unsaid"] else ""
        more += f", {one['twice']} published twice" if one["twice"] else ""
        more += f", {one['other']} not compared" if one["other"] else ""
        _line(f"  {name:<12} {word}: {one['equal']} of {one['live']} live ones equal{more}")
        if one["silent"]:
            seconds = f"{one['silent_s']:,.1f} s"
            _line(f"    it had something to publish for {seconds} before its next start, or the end, and did not:")
            _line(f"    it hung, or was stopped; --silence-max {one['silent_s'] + 1:.0f} allows that much")
        if "fault" in one:
            _line(f"    it cannot run to the end: {one['fault']}")
        for stretch in one["stretches"]:
            _show_stretch(stretch, len(one["stretches"]) > 1)
    if result["first_divergence"] is not None:
        _show_divergence(result["first_divergence"])


def _show_stretch(one: JsonObject, several: bool) -> None:
    """A line of a stretch that is not all there is, or that was of something else."""
    if not several and not one["changes"]:
        return
    begin = f"from run event {one['run_seq']} on" if one["run_seq"] else "before its first run event"
    if one["compared_with"] is None:
        _line(f"    {begin}: {one['live']} not compared: {one['why_not'] or 'nothing is known of what ran'}")
        return
    what = "as it was then" if one["compared_with"] == "then" else "as it is now"
    _line(f"    {begin}: {one['equal']} of {one['live']} equal, replayed {what}")
    for change in one["changes"]:
        _line(f"      {change}")
    if one["compared_with"] == "now" and one["equal_then"] is not None:
        _line(f"      replayed as it was then: {one['equal_then']} of {one['live']} equal")


def _show_divergence(one: JsonObject) -> None:
    _line(f"\nFirst divergence: {one['node']} at event {one['cause_seq']} (k {one['k']}), {one['kind']} of {one['instrument']}")
    if one["cause"] is not None:
        _line(f"  its cause  {_event(one['cause'])}")
    _line("  the last events of the instrument before it")
    for row in one["rows_before"]:
        _line(f"             {_event(row)}")
    sides = [side for side in ("live", "replayed") if all(field[side] is None for field in one["fields"])]
    if sides:
        _line(f"  {'published live there was none' if sides[0] == 'live' else 'the replay gives none'}:")
    _line(f"  {'':<18} {'live':<26} {'replayed':<26}")
    for field in one["fields"]:
        mark = " " if field["same"] else "≠"
        _line(f"  {mark} {field['field']:<16} {_text(field['live']):<26} {_text(field['replayed']):<26}".rstrip())
        if not field["same"] and field["live_bits"] and field["replayed_bits"]:
            _line(f"    {'bits':<16} {field['live_bits']:<26} {field['replayed_bits']}")
    if one["state_before"] is not None:
        _line("  the state before it, replayed")
        for name, value in one["state_before"].items():
            _line(f"    {name:<16} {_text(value)}")
    _line(f"  code       {one['code_then'] or 'not known'} then, {one['code_now']} now")
    if one["changes"]:
        _line(f"  changed    {'; '.join(one['changes'])}")
        if one["equal_with_those_of_then"]:
            _line("             with what there was then the replay is equal: the change is the reason")
    else:
        _line("  parameters as they were: the events are not those that the node was given, or its code is no function of them")


def _event(one: JsonObject) -> str:
    return f"{one['seq']:>9}  {one['time']}  {one['topic']}  {one['content']}"


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _line(text: str) -> None:
    terminal.out.print(text, markup=False)
