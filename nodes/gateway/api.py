"""The REST API: one route for each name of `import tickmesh`, and for how the mesh stands; OpenAPI at /openapi.json."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.bus.table_names import TABLES
from tickmesh.nodes.gateway import answers, asking, encoding, figures
from tickmesh.nodes.gateway.access import ACTIONS
from tickmesh.nodes.gateway.actions import MeshActions, read_action
from tickmesh.nodes.gateway.asking import After, End, Instruments, Levels, Limit, Start, check_parameters, names_given
from tickmesh.nodes.gateway.encoding import JSON, MSGPACK, EncodedAnswer
from tickmesh.nodes.gateway.problems import MEDIA_TYPE, RequestProblem, problem_body
from tickmesh.nodes.gateway.queries import MeshQueries
from tickmesh.nodes.gateway.recent_events import EventPage

OPENMETRICS = "application/openmetrics-text"
ABOUT = """Recent events of a mesh, from memory, and what is older from its log and archive. Nothing here changes anything.

Names, filters and words are those of `import tickmesh`, `tap` and docs/fields.md. Of a price both are there: the exact decimal
as a text (`price`) and the mantissa (`price_ticks`) with its exponent in the event. Without `after` or `start` the newest
events are given; `next` goes on exactly after the last one, also when nothing more is there yet."""
REFUSAL = {
    "type": "about:blank", "title": "Unprocessable Content", "status": 422, "instance": "/v1/trades",
    "detail": "limit = 'x' is impossible; allowed: a whole number from 1 to 5000",
}  # fmt: skip
METRICS_OK: dict[int | str, dict[str, Any]] = {200: {"description": "metrics", "content": {"text/plain": {}, OPENMETRICS: {}}}}
ACTION_EXAMPLE = {"action": "process", "name": "feed-binance-1", "do": "restart"}
PROBLEM = {
    "description": "what is wrong, in a sentence",
    "content": {MEDIA_TYPE: {"schema": answers.reference("problem"), "example": REFUSAL}},
}
OBJECT = {JSON: {"schema": answers.ANY_OBJECT}, MSGPACK: {}}
REFUSED = (400, 401, 403, 404, 405, 406, 413, 414, 421, 422, 429, 503)
REFUSALS: dict[int | str, dict[str, Any]] = {code: PROBLEM for code in REFUSED}


def build_api(queries: MeshQueries, actions: MeshActions, version: str) -> FastAPI:
    """Builds the application; a page, or metrics, are mounted beside its /v1. Every fault is answered as a problem."""
    api = FastAPI(
        title="tickmesh gateway", version=version, description=ABOUT, docs_url=None, redoc_url=None, redirect_slashes=False,
        responses=REFUSALS,
    )  # fmt: skip
    _add_problems(api)
    for name, kind in TABLES.items():
        _add_table(api, queries, name, kind)
    _add_market(api, queries)
    _add_figures(api, queries)
    if actions.enabled:
        _add_actions(api, actions)
    _describe(api)
    return api


def _describe(api: FastAPI) -> None:
    """Lets the OpenAPI description have the schemas that its answers refer to."""
    without = api.openapi

    def openapi() -> dict[str, Any]:
        found = without()
        found.setdefault("components", {})["schemas"] = answers.schemas()
        return found

    api.openapi = openapi  # type: ignore[method-assign]


def _content(name: str) -> dict[str, Any]:
    """The description of an answer in JSON or msgpack by the name of its schema; without one it is an object."""
    return {**OBJECT, JSON: {"schema": answers.reference(name)}} if name in answers.schemas() else OBJECT


def _answers(name: str) -> dict[int | str, dict[str, Any]]:
    """The description of a route's answer, by the name of its schema."""
    return {200: {"description": "what is asked for", "content": _content(name)}}


def _add_actions(api: FastAPI, actions: MeshActions) -> None:
    """Adds the one route that changes something, where mesh.toml allows it; who asks has shown the token (access.py)."""

    body = {"required": True, "content": {JSON: {"schema": {"type": "object"}, "example": ACTION_EXAMPLE}}}
    codes: dict[int | str, dict[str, Any]] = {200: {"content": OBJECT}, 409: PROBLEM, 411: PROBLEM, 413: PROBLEM, 415: PROBLEM}

    @api.post(ACTIONS, tags=["actions"], summary="change the mesh", responses=codes, openapi_extra={"requestBody": body})
    async def act(request: Request) -> Response:
        check_parameters(request.query_params.keys(), ())
        action = read_action(await request.body())
        by = request.client.host if request.client else "somebody"
        return _plain(request, await actions.carry_out(action, f"{by} over the API"))


def _add_problems(api: FastAPI) -> None:
    async def on_problem(request: Request, problem: RequestProblem) -> Response:
        return _refused(request, problem.status, problem.detail, problem.headers)

    async def on_log_error(request: Request, error: LogError) -> Response:
        return _refused(request, 503, f"{error}")

    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return _refused(request, 422, asking.invalid_parameter(error.errors()))

    async def on_http(request: Request, error: HTTPException) -> Response:
        what = (
            f"there is no {request.url.path[:100]!r} here; /v1 lists what there is"
            if error.status_code == 404
            else error.detail
        )
        return _refused(request, error.status_code, what, dict(error.headers or {}))

    async def on_fault(request: Request, error: Exception) -> Response:
        return _refused(request, 500, f"a fault of the gateway ({type(error).__name__}), its log has it: run/logs/gateway.log")

    for kind, handler in (
        (RequestProblem, on_problem), (LogError, on_log_error), (RequestValidationError, on_invalid), (HTTPException, on_http),
        (Exception, on_fault),
    ):  # fmt: skip
        api.add_exception_handler(kind, handler)  # type: ignore[arg-type]


def _refused(request: Request, status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    body = problem_body(status, detail, request.url.path[:200])
    return Response(body, status, headers, MEDIA_TYPE)


def _answer(answer: EncodedAnswer, headers: dict[str, str] | None = None) -> Response:
    return Response(answer.body, 200, headers, answer.media_type)


def _plain(request: Request, content: Any) -> Response:
    """An answer that is no table of events: JSON or msgpack."""
    return _answer(encoding.encoded(content, encoding.chosen_type(request.headers.get("accept", ""), (JSON, MSGPACK))))


def _add_table(api: FastAPI, queries: MeshQueries, name: str, kind: Kind) -> None:
    subject = asking.subject_parameter(kind)
    forms = queries.forms(kind)
    names = _names_of(subject)

    async def events(
        request: Request, names: Annotated[list[str], Depends(names)], start: Start = None, end: End = None,
        after: After = None, limit: Limit = asking.LIMIT_USUAL,
    ) -> Response:  # fmt: skip
        check_parameters(request.query_params.keys(), (subject, "start", "end", "after", "limit"))
        media_type = encoding.chosen_type(request.headers.get("accept", ""), forms)
        wanted = queries.of_kind(kind, names, start, end)
        page = await queries.page(wanted, after, limit, start is not None)
        bounds = {"start": wanted.start_ns or None, "end": wanted.end_ns}
        following = _next(f"/v1/{name}", [(subject, one) for one in names], bounds, limit, page)
        more = {"kind": kind.name, "seq": page.seq, "more": page.more, "next": following}
        answer = await queries.encode(kind, page, more, media_type)
        headers = {"Tickmesh-Seq": str(page.seq), "Tickmesh-More": str(page.more).lower()}
        return _answer(answer, headers | ({"Link": f'<{following}>; rel="next"'} if following else {}))

    api.add_api_route(
        f"/v1/{name}", events, methods=["GET"], name=name, summary=f"{name}: events of kind {kind.name}", tags=["events"],
        responses={200: {"description": "a page of events", "content": {
            **_content(answers.page_name(kind)), **{form: {} for form in forms[2:]},
        }}},
    )  # fmt: skip


def _names_of(subject: str) -> Callable[..., Awaitable[list[str]]]:
    """The dependency that reads the parameter of this name."""

    async def instrument_names(instrument: Instruments = None) -> list[str]:
        return names_given(instrument)

    async def process_names(process: asking.Processes = None) -> list[str]:
        return names_given(process)

    async def account_names(account: asking.Accounts = None) -> list[str]:
        return names_given(account)

    return {"instrument": instrument_names, "process": process_names, "account": account_names}[subject]


def _next(path: str, names: list[tuple[str, str]], bounds: dict[str, int | None], limit: int, page: EventPage) -> str | None:
    """The address of what follows a page; None where an end that was asked for has been reached."""
    if page.ended:
        return None
    given = [*names, *((name, str(value)) for name, value in bounds.items() if value is not None)]
    return f"{path}?{urlencode([*given, ('limit', str(limit)), ('after', str(page.seq))])}"


def _add_market(api: FastAPI, queries: MeshQueries) -> None:
    @api.get("/v1/events", tags=["events"], summary="events of topics, as tap takes them", responses=_answers("page"))
    async def events(
        request: Request, topics: asking.Topics = None, start: Start = None, end: End = None, after: After = None,
        limit: Limit = asking.LIMIT_USUAL,
    ) -> Response:  # fmt: skip
        check_parameters(request.query_params.keys(), ("topics", "start", "end", "after", "limit"))
        media_type = encoding.chosen_type(request.headers.get("accept", ""), (JSON, MSGPACK))
        given = names_given(topics)
        wanted = queries.of_topics(given, start, end)
        page = await queries.page(wanted, after, limit, start is not None)
        bounds = {"start": wanted.start_ns or None, "end": wanted.end_ns}
        following = _next("/v1/events", [("topics", one) for one in given], bounds, limit, page)
        more = {"seq": page.seq, "more": page.more, "next": following}
        return _answer(await queries.encode(Kind.trade, page, more, media_type))

    @api.get("/v1/instruments", tags=["market"], summary="the instruments that there are", responses=_answers("instruments"))
    async def instruments(request: Request) -> Response:
        check_parameters(request.query_params.keys(), ())
        return _plain(request, {"instruments": queries.instruments()})

    @api.get("/v1/books", tags=["market"], summary="an instrument's book, any depth", responses=_answers("books"))
    async def books(
        request: Request, instrument: Annotated[str, Query(examples=["BTCUSDT"])], at: Start = None, levels: Levels = 20
    ) -> Response:
        check_parameters(request.query_params.keys(), ("instrument", "at", "levels"))
        return _plain(request, await queries.book(instrument, at, levels))

    @api.get("/v1/bars", tags=["market"], summary="an instrument's bars", responses=_answers("bars"))
    async def bars(
        request: Request, instrument: Annotated[str, Query(examples=["BTCUSDT"])],
        every: Annotated[str, Query(description="whole seconds: 1s, 1m, 4h, 1d", examples=["1m"])] = "1m",
        start: Start = None, end: End = None,
    ) -> Response:  # fmt: skip
        check_parameters(request.query_params.keys(), ("instrument", "every", "start", "end"))
        return _plain(request, await queries.bars(instrument, every, start, end))

    @api.get("/v1/coverage", tags=["market"], summary="what is known of stored intervals", responses=_answers("coverage"))
    async def coverage(
        request: Request, instrument: Instruments = None,
        kind: Annotated[list[str] | None, Query(description="of trade, quote, depth; else all", examples=["trade"])] = None,
        start: Start = None, end: End = None, limit: Limit = asking.LIMIT_MAX,
    ) -> Response:  # fmt: skip
        check_parameters(request.query_params.keys(), ("instrument", "kind", "start", "end", "limit"))
        found = await queries.coverage(names_given(instrument), names_given(kind), start, end, limit)
        return _plain(request, {"intervals": found})


def _add_figures(api: FastAPI, queries: MeshQueries) -> None:
    config, recent = queries.config, queries.recent

    def add(path: str, summary: str, content: Callable[[], Any]) -> None:
        async def figure(request: Request) -> Response:
            check_parameters(request.query_params.keys(), ())
            return _plain(request, content())

        ok = _answers(path)
        api.add_api_route(f"/v1/{path}", figure, methods=["GET"], name=path, summary=summary, tags=["mesh"], responses=ok)

    add("status", "the mesh at a glance: log, topics, the gateway itself", queries.status)
    add("processes", "processes by their heartbeats", lambda: {"processes": figures.processes(recent, queries.now_ns())})
    add(
        "latency",
        "how long each hop between a venue's event and our order has taken of late",
        lambda: {"window_s": queries.latency.window_s, "hops": queries.latency.rows(queries.now_ns())},
    )
    add("positions", "positions, by instrument and by strategy", lambda: figures.positions(figures.trading(config, recent)))
    add("pnl", "profit and loss", lambda: figures.profit_and_loss(figures.trading(config, recent)))

    @api.get("/metrics", tags=["mesh"], summary="the same figures for Prometheus (docs/metrics.md)", responses=METRICS_OK)
    async def metrics(request: Request) -> Response:
        from tickmesh.nodes.gateway.metrics import scrape  # takes some MB, and many meshes have no Prometheus

        check_parameters(request.query_params.keys(), ())
        return _answer(scrape(queries, request.headers.get("accept", "")))

    @api.get("/v1", tags=["mesh"], summary="what there is here", responses=_answers("v1"))
    async def index(request: Request) -> Response:
        check_parameters(request.query_params.keys(), ())
        paths = sorted(path for route in api.routes if (path := getattr(route, "path", "")).startswith("/v1"))
        return _plain(request, {"name": api.title, "version": api.version, "openapi": "/openapi.json", "paths": paths})
