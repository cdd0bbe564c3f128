"""Who may look and who may change something, by the request alone: token, cookie, address, body."""

import pytest

from tickmesh.nodes.gateway.access import AccessRules, AskedRequest
from tickmesh.nodes.gateway.problems import RequestProblem

TOKEN = "t" * 43
RULES = AccessRules(frozenset({"mesh.example"}), "http", TOKEN, actions=True)
JSON = {"content-type": "application/json", "content-length": "30"}
BEARER = {"authorization": f"Bearer {TOKEN}"}
COOKIE = {"cookie": f"other=1; {RULES.cookie_name}={RULES.cookie_value}"}


def asked(method="GET", target="/v1", address="127.0.0.1", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return AskedRequest(method, target, {"host": "localhost:1", **named}, address, "127.0.0.1")


def status(request: AskedRequest, rules: AccessRules = RULES) -> int:
    try:
        rules.check(request)
    except RequestProblem as problem:
        return problem.status
    return 200


def action(**headers):
    return asked("POST", "/v1/actions", **headers)


@pytest.mark.parametrize("request_, wanted", [
    (action(**BEARER, **JSON), 200),
    (action(**JSON), 401),  # on this machine, too
    (action(**COOKIE, **JSON), 401),  # a page elsewhere could have a browser send that
    (action(**{**BEARER, "authorization": "Bearer wrong"}, **JSON), 401),
    (action(**{**BEARER, "authorization": f"Basic {TOKEN}"}, **JSON), 401),
    (action(**BEARER, **JSON, origin="http://evil.example"), 403),
    (action(**BEARER, **JSON, sec_fetch_site="cross-site"), 403),
    (action(**BEARER, **{**JSON, "content-type": "text/plain"}), 415),
    (action(**BEARER, **{**JSON, "content-length": "4097"}), 413),
    (action(**BEARER, **{**JSON, "content-length": "-1"}), 411),
    (action(**BEARER, **JSON, transfer_encoding="chunked"), 411),
    (asked("POST", "/v1/trades", **BEARER, **JSON), 405),
    (asked("POST", "/v1/actions?x=1", **BEARER, **JSON), 405),
    (asked("DELETE", "/v1/actions", **BEARER), 405),
])  # fmt: skip
def test_who_changes_something_shows_the_token_in_the_header(request_, wanted):
    assert status(request_) == wanted


def test_where_mesh_toml_allows_no_action_there_is_none():
    rules = RULES._replace(actions=False)
    assert status(action(**BEARER, **JSON), rules) == 405
    with pytest.raises(RequestProblem, match="gateway.actions is false"):
        rules.check(action(**BEARER, **JSON))


@pytest.mark.parametrize("request_, wanted, shown", [
    (asked(), 200, False),
    (asked(**COOKIE), 200, True),
    (asked(target=f"/?token={TOKEN}"), 200, True),
    (asked(target="/?token=wrong"), 401, False),
    (asked(target=f"/?token={TOKEN[:-1]}"), 401, False),
    (asked(target="/?token="), 401, False),
    (asked(target=f"/v1/trades?token={TOKEN}"), 200, False),  # of the page's address alone
    (asked(target=f"/v1/trades?token={TOKEN}", address="10.0.0.9"), 401, False),
    (asked(address="10.0.0.9"), 401, False),
    (asked(address="10.0.0.9", **COOKIE), 200, True),
    (asked(address="10.0.0.9", target=f"/?token={TOKEN}"), 200, True),
    (asked(x_forwarded_for="10.0.0.9"), 401, False),
    (asked(x_forwarded_for="10.0.0.9", **COOKIE), 200, True),
    (asked(**COOKIE, authorization="Bearer wrong"), 401, True),
    (asked(cookie=f"{RULES.cookie_name}={TOKEN}"), 200, False),  # the token itself is no cookie
])  # fmt: skip
def test_who_looks_needs_it_from_elsewhere_alone(request_, wanted, shown):
    assert (status(request_), RULES.has_token(request_)) == (wanted, shown)


def test_the_cookie_does_not_show_the_token_and_is_another_one_for_another_token():
    other = RULES._replace(token="u" * 43)
    assert TOKEN not in RULES.cookie_value and RULES.cookie_value != other.cookie_value
    assert RULES.cookie_name != other.cookie_name
    assert not other.has_token(asked(**COOKIE))
