"""Who calls: tokens, sessions and passwords, right ones and forged ones, with a clock that is set."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from flowtide.api.keys import SITE, Site
from flowtide.api.problems import Problem
from flowtide.api.session_tokens import KEY_SETTING, SessionTokens
from flowtide.errors import ResourceConflict, ValueInvalid
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.access import Action, LoginWay, Permission, Principal, SubjectType
from flowtide.model.identity import Binding, BindingType, Group, GroupMembership, Password, Tenant, User
from flowtide.model.resources import ResourceKind
from flowtide.services.identity import Limits
from tests.unit.api.identity_world import START, World

if TYPE_CHECKING:
    from flowtide.services.catalog import Catalog
    from flowtide.services.saving import ResourceClient

KEY = b"k" * 32
PASSWORD = "Right1234"


async def called(world: World, authorization: str | None = None, cookie: str | None = None) -> Principal:
    """The caller of a request with these credentials."""
    headers = {}
    if authorization is not None:
        headers["Authorization"] = authorization
    if cookie is not None:
        headers["Cookie"] = cookie
    app = web.Application()
    app[SITE] = Site()
    return await world.recognition.principal(make_mocked_request("GET", "/", headers=headers, app=app))


async def refused(world: World, authorization: str | None = None, cookie: str | None = None) -> int:
    """How these credentials are refused."""
    with pytest.raises(Problem) as problem:
        await called(world, authorization, cookie)
    return problem.value.status


def basic(name: str, password: str) -> str:
    """The header of a name and a password."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def person(world: World, email: str = "a@b.org") -> str:
    """A user with a password; gives its id."""
    return await world.directory.create_user(User(email=email, created=START), password=PASSWORD)


async def session(world: World) -> tuple[str, str, str]:
    """A user, their session and its token."""
    user_id = await person(world)
    session_id, _, opened = await world.directory.open_session(user_id, lifetime=timedelta(days=1))
    token, _ = await world.tokens.sign(user_id, session_id, opened.expires)
    return user_id, session_id, token


async def test_a_session_token_is_taken_as_bearer_and_as_cookie() -> None:
    """Both ways name the user and the session; only the cookie is known to have come of the browser's own accord."""
    world = World()
    user_id, session_id, token = await session(world)
    for found, by_cookie in (
        (await called(world, f"Bearer {token}"), False),
        (await called(world, None, f"JWT={token}"), True),
    ):
        assert (found.id, found.session_id, found.way) == (user_id, session_id, LoginWay.SESSION)
        assert found.by_cookie is by_cookie


async def test_forged_tokens_are_refused() -> None:
    """`alg=none`, another algorithm, another key, changed or missing claims, a session of somebody else."""
    world = World()
    user_id, session_id, token = await session(world)
    claims: dict[str, Any] = jwt.decode(
        token, KEY, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
    )
    head, body, signature = token.split(".")

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    root = {**claims, "sub": "root"}
    forged = [
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        f"{part({'alg': 'None'})}.{body}.{signature}",
        f"{part({'alg': 'HS256'})}.{part(root)}.{signature}",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}.",
        "..",
        "a.b.c",
        f"{head}.{body}.{signature}x",
        jwt.encode(claims, "x" * 32, algorithm="HS256"),
        jwt.encode(claims, KEY * 2, algorithm="HS512"),
        jwt.encode({**claims, "iss": "somebody"}, KEY, algorithm="HS256"),
        jwt.encode(root, KEY, algorithm="HS256"),
        jwt.encode({**claims, "sid": "another"}, KEY, algorithm="HS256"),
        jwt.encode({**claims, "exp": "soon"}, KEY, algorithm="HS256"),
        jwt.encode({**claims, "exp": 10**30}, KEY, algorithm="HS256"),
        *(
            jwt.encode(
                {name: value for name, value in claims.items() if name != left}, KEY, algorithm="HS256"
            )
            for left in claims
        ),
        "a." * 3_000 + "b",
    ]
    assert (await called(world, f"Bearer {token}")).id == user_id
    for each in forged:
        assert await refused(world, f"Bearer {each}") == 401, each
        assert await refused(world, None, f"JWT={each}") == 401, each
    assert world.identities.session(session_id) is not None


async def test_a_session_ends_by_time_by_hand_and_with_the_password() -> None:
    """An expired token, a session that was ended, and a user with a new password have to log in again."""
    world = World()
    user_id, session_id, token = await session(world)
    world.saved.now = START + timedelta(minutes=61)
    assert await refused(world, f"Bearer {token}") == 401
    world.saved.now = START
    await called(world, f"Bearer {token}")
    await world.directory.end_session(session_id)
    assert await refused(world, f"Bearer {token}") == 401
    session_id, _, _ = await world.directory.open_session(user_id, lifetime=timedelta(days=1))
    token, expires = await world.tokens.sign(user_id, session_id, START + timedelta(minutes=5))
    assert expires == START + timedelta(minutes=5)
    await called(world, f"Bearer {token}")
    await world.directory.set_password(user_id, "Other1234")
    assert await refused(world, f"Bearer {token}") == 401


async def test_api_tokens_expire_and_are_extended_by_use() -> None:
    """A token is found by its hash alone; an extended one lives on as long as it is used (TOK-01, TOK-02)."""
    world = World()
    user_id = await person(world)
    make = world.directory.create_token
    _, plain, saved = await make(SubjectType.USER, user_id, "plain", max_age=timedelta(hours=1))
    token_id, extended, _ = await make(
        SubjectType.USER, user_id, "extended", max_age=timedelta(hours=1), extended=True
    )
    assert plain not in str(saved)
    assert plain.startswith(saved.prefix)
    for token in (plain, extended):
        assert (await called(world, f"Bearer {token}")).id == user_id
    world.saved.now = START + timedelta(minutes=40)
    used = world.directory.use_of(world.identities.token(token_id) or saved)
    assert used is not None
    await world.directory.note_use(token_id, used)
    world.saved.now = START + timedelta(minutes=70)
    assert await refused(world, f"Bearer {plain}") == 401
    assert (await called(world, f"Bearer {extended}")).token_id == token_id
    for wrong in (extended[:-1], extended + "x", "", "ft_", saved.hash, "ft_" + "x" * 500, "ft_ä"):
        assert await refused(world, f"Bearer {wrong}") == 401
    await world.directory.delete_token(token_id)
    assert await refused(world, f"Bearer {extended}") == 401


async def test_a_use_is_written_once_a_minute_and_never_brings_a_token_back() -> None:
    """Noting each use would write a record per request; noting one late must not undo a deletion (TRAP-46)."""
    world = World()
    user_id = await person(world)
    token_id, _, token = await world.directory.create_token(SubjectType.USER, user_id, "t")
    used = world.directory.use_of(token)
    assert used is not None
    await world.directory.note_use(token_id, used)
    world.saved.now = START + timedelta(seconds=59)
    assert world.directory.use_of(used) is None
    await world.directory.delete_token(token_id)
    await world.directory.note_use(token_id, used)
    assert world.identities.token(token_id) is None


async def test_ten_wrong_passwords_lock_a_user_for_half_an_hour() -> None:
    """The right one is refused then, too, also from a header that was right before; a reset unlocks (AUTH-07)."""
    world = World()
    user_id = await person(world)
    right = basic("a@b.org", PASSWORD)
    assert (await called(world, right)).id == user_id
    for _ in range(9):
        assert await refused(world, basic("a@b.org", "wrong")) == 401
    assert (await called(world, basic("A@B.org", PASSWORD))).id == user_id  # which wipes the nine out
    for _ in range(10):
        assert await refused(world, basic("a@b.org", "wrong")) == 401
    assert await refused(world, right) == 401
    world.saved.now = START + timedelta(minutes=29)
    assert await refused(world, right) == 401
    world.saved.now = START + timedelta(minutes=31)
    assert (await called(world, right)).id == user_id
    for _ in range(10):
        assert await refused(world, basic("a@b.org", "wrong")) == 401
    await world.directory.set_password(user_id, "Other1234")
    assert (await called(world, basic("a@b.org", "Other1234"))).id == user_id


async def test_failures_count_within_a_window_only() -> None:
    """Nine failures, a pause, and nine more do not lock."""
    world = World()
    await person(world)
    for _ in range(2):
        for _ in range(9):
            assert await refused(world, basic("a@b.org", "wrong")) == 401
        world.saved.now += timedelta(minutes=6)
    await called(world, basic("a@b.org", PASSWORD))


async def test_an_address_that_fails_too_often_waits() -> None:
    """Names do not matter for it; the answer says how long, and it is over with the window."""
    world = World(limits=Limits(address_failures=3))
    await person(world)
    for number in range(3):
        assert await refused(world, basic(f"n{number}@b.org", "wrong")) == 401
    with pytest.raises(Problem) as problem:
        await called(world, basic("a@b.org", PASSWORD))
    assert problem.value.status == 429
    assert problem.value.headers == {"Retry-After": "301"}
    world.saved.now = START + timedelta(minutes=5, seconds=1)
    await called(world, basic("a@b.org", PASSWORD))


async def test_an_unknown_user_costs_as_much_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hash is compared either way, so that the time does not tell who there is."""
    world = World()
    await person(world)
    compared = []
    fits = world.passwords.fits

    async def counted(password: str, hashed: str | None) -> bool:
        compared.append(password)
        return await fits(password, hashed)

    monkeypatch.setattr(world.passwords, "fits", counted)
    for name in ("a@b.org", "nobody@b.org"):
        with pytest.raises(Problem) as problem:
            await called(world, basic(name, "wrong"))
        assert "wrong" in problem.value.message
    assert compared == ["wrong", "wrong"]
    long = PASSWORD + "x" * 100  # bcrypt would not see what is beyond 72 bytes
    assert await refused(world, basic("a@b.org", long)) == 401
    assert await refused(world, basic("a@b.org", PASSWORD + "\0")) == 401


async def test_the_configured_superadmin_is_there_without_being_saved() -> None:
    """It manages people everywhere, is an administrator where the configuration says so, and cannot be changed."""
    world = World(superadmin=("root@b.org", "Root12345"))
    assert await refused(world, basic("root@b.org", "wrong")) == 401
    found = await called(world, basic("Root@b.org", "Root12345"))
    assert found.super_admin
    grants = world.identities.grants(found.id, "main")
    assert grants.allows(Permission.USER, Action.CREATE)
    assert not grants.allows(Permission.FLOW, Action.READ)
    await world.directory.create_tenant("red", Tenant(name="Red", created=START))
    assert world.identities.grants(found.id, "red").allows(Permission.FLOW, Action.READ)
    with pytest.raises(ValueInvalid):
        await world.directory.delete_user(found.id)


async def test_a_password_that_another_server_saved_a_moment_ago_is_taken() -> None:
    """A login is refused only after everything was read that was saved before it."""
    world = World()
    user_id = await person(world)
    other = await world.passwords.hash("Other1234")

    async def arrives() -> None:
        changed = Password(hash=other, changed=START)
        world.save(ResourceKind.PASSWORD, SYSTEM_TENANT, user_id, changed)

    world.saved.catch_up = arrives  # type: ignore[method-assign]  # what another server saved arrives now
    assert (await called(world, basic("a@b.org", "Other1234"))).id == user_id
    assert await refused(world, basic("a@b.org", PASSWORD)) == 401


async def test_an_address_is_given_to_one_user_only() -> None:
    """Whatever its case; a claim of a server that died in between is void after a minute."""
    world = World()
    user_id = await person(world)
    with pytest.raises(ResourceConflict):
        await person(world, "A@B.ORG")
    other = await person(world, "other@b.org")
    renamed = User(email="new@b.org", created=START)
    await world.directory.update_user(other, renamed)
    with pytest.raises(ResourceConflict):
        await world.directory.update_user(user_id, renamed)
    await person(world, "other@b.org")
    await world.directory._claim("lost@b.org", "nobody", None)
    with pytest.raises(ResourceConflict):
        await person(world, "lost@b.org")
    world.saved.now = START + timedelta(seconds=61)
    await person(world, "lost@b.org")
    with pytest.raises(ValueInvalid):
        await world.directory.create_user(User(email="weak@b.org", created=START), password="weak")


async def test_nothing_is_left_of_a_deleted_user() -> None:
    """Neither token nor session nor role nor membership, so that nobody inherits them."""
    world = World()
    user_id, _, token = await session(world)
    await world.directory.grant_access("main", user_id)
    await world.directory.bind("main", Binding(type=BindingType.USER, external_id=user_id, role_id="admin"))
    world.save(ResourceKind.GROUP, "main", "g", Group(name="g"))
    world.save(ResourceKind.GROUP_MEMBERSHIP, "main", f"g/{user_id}", GroupMembership())
    await world.directory.create_token(SubjectType.USER, user_id, "t")
    await world.directory.delete_user(user_id)
    assert await refused(world, f"Bearer {token}") == 401
    left = [
        (key, name)
        for key, table in world.saved.things.items()
        for name, resource in table.items()
        if not resource.deleted and user_id in f"{name}{bytes(resource.body)!r}"
    ]
    assert left == []
    assert world.identities.members("main", "g") == []


async def test_rights_follow_groups_roles_and_access() -> None:
    """The union of direct and group bindings; each change counts from the next look on (IAM-02, IAM-05)."""
    world = World()
    user_id = await person(world)

    def allowed(action: Action, namespace: str | None = None) -> bool:
        return world.identities.grants(user_id, "main").allows(Permission.FLOW, action, namespace)

    await world.directory.bind("main", Binding(type=BindingType.USER, external_id=user_id, role_id="viewer"))
    assert not allowed(Action.READ)  # not let in yet
    await world.directory.grant_access("main", user_id)
    assert allowed(Action.READ)
    assert not allowed(Action.UPDATE, "prod.a")
    world.save(ResourceKind.GROUP, "main", "g", Group(name="g"))
    group = Binding(type=BindingType.GROUP, external_id="g", role_id="editor", namespace="prod")
    binding_id = await world.directory.bind("main", group)
    assert not allowed(Action.UPDATE, "prod.a")
    world.save(ResourceKind.GROUP_MEMBERSHIP, "main", f"g/{user_id}", GroupMembership())
    assert allowed(Action.UPDATE, "prod.a")
    assert allowed(Action.UPDATE, "prod")
    assert not allowed(Action.UPDATE, "production")
    assert not allowed(Action.UPDATE)
    places = world.identities.grants(user_id, "main").namespaces(Permission.FLOW, Action.UPDATE)
    assert places == frozenset({"prod"})
    assert world.identities.grants(user_id, "main") is world.identities.grants(user_id, "main")
    await world.directory.delete(ResourceKind.BINDING, "main", binding_id)
    assert not allowed(Action.UPDATE, "prod.a")
    await world.directory.revoke_access("main", user_id)
    assert not allowed(Action.READ)
    assert not world.identities.grants(user_id, "main").has_access


async def test_a_tenant_is_closed_before_it_is_emptied_and_its_id_is_taken_until_then() -> None:
    """Nobody enters a tenant that is going; a new one under its name would find what it left (TRAP-11)."""
    world = World()
    await world.directory.create_tenant("red", Tenant(name="Red", created=START))
    user_id = await person(world)
    await world.directory.grant_access("red", user_id)
    await world.directory.bind("red", Binding(type=BindingType.USER, external_id=user_id, role_id="admin"))
    assert world.identities.grants(user_id, "red").allows(Permission.FLOW, Action.DELETE)
    await world.directory.delete_tenant("red")
    assert world.identities.tenant("red") is None
    assert not world.identities.grants(user_id, "red").has_access
    with pytest.raises(ResourceConflict, match="is being removed"):
        await world.directory.create_tenant("red", Tenant(name="Red", created=START))
    with pytest.raises(ValueInvalid):
        await world.directory.delete_tenant("main")


async def test_servers_without_a_configured_key_share_a_saved_one() -> None:
    """The first one saves it, under a name that the audit log masks; a token of one is taken by the other."""
    world = World()
    catalog, client = cast("Catalog", world.saved), cast("ResourceClient", world.saved)
    one, other = (
        SessionTokens(None, catalog, client, clock=world.clock, lifetime=timedelta(hours=1)) for _ in range(2)
    )
    token, _ = await one.sign("u", "s", START + timedelta(hours=2))
    claims = await other.read(token)
    assert claims is not None
    assert claims.user_id == "u"
    saved = world.saved.get(ResourceKind.SETTING, SYSTEM_TENANT, KEY_SETTING)
    assert saved is not None
    assert list(json.loads(bytes(saved.body))) == ["secret"]


async def test_many_requests_at_once_by_one_login_are_one_comparison() -> None:
    """A program that begins with more requests than passwords may be compared at a time is let in with all of them."""
    world = World(limits=Limits(address_waiting=1))
    user_id = await person(world)
    right = basic("a@b.org", PASSWORD)
    found = await asyncio.gather(*(called(world, right) for _ in range(20)))
    assert {each.id for each in found} == {user_id}


async def test_an_address_that_compares_too_many_passwords_at_once_is_told_so() -> None:
    """More different logins than may be compared: 429 for the next, which may try again at once."""
    world = World(limits=Limits(address_waiting=1))
    user_id = await person(world)
    other = asyncio.create_task(refused(world, basic("n@b.org", "wrong")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="being compared") as problem:
        await called(world, basic("a@b.org", PASSWORD))
    assert problem.value.headers == {"Retry-After": "1"}
    assert await other == 401
    assert (await called(world, basic("a@b.org", PASSWORD))).id == user_id
