"""The page's own routes: what is asked, what is committed, what is shown. JSON and pictures, no Gradio.

They are registered before Gradio is mounted. Every change names the project it means, because a browser tab outlives
the server: a page left open must not send its labels to another project that was started on the same port.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, unquote

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, StrictBool

from labeler.accounts import SignIns, annotator_name, must_be_told_apart
from labeler.control import change
from labeler.grid import MOST, MOST_AMONG
from labeler.narrowing import MOST_SELECTED
from labeler.project import Project
from labeler.ui import pictures
from labeler.ui.desk import Desk
from labeler.ui.fields import Id, Whole, Words
from labeler.ui.imagine import drawn, imagine_routes
from labeler.ui.learning import learning_routes
from labeler.ui.manage import class_routes
from labeler.ui.map import map_routes
from labeler.ui.review import Waiting, review_routes
from labeler.ui.signin import account_of, may, must_be, sign_in_routes
from storage import NewEvent

HERE = Path(__file__).parent
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}  # the system's own table may be wrong
FILES = {path.name: TYPES[path.suffix] for path in HERE.iterdir() if path.suffix in TYPES}
COOKIE = "labeler_name"
A_YEAR = 365 * 24 * 3600
FOREVER = {"Cache-Control": f"private, max-age={A_YEAR}, immutable"}
ASK_AGAIN = {"Cache-Control": "no-cache"}

ClassIds = Annotated[str, Field(pattern=r"^[0-9]{1,9}(,[0-9]{1,9}){0,31}$")]
KeyTarget = Annotated[str, Field(pattern=r"^(class:[0-9]{1,9}|[a-z]{1,20})$")]
Uid = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{8,64}$")]


class Message(BaseModel):
    """What every change carries: the project the page was opened on, and the browser tab it comes from."""

    project: str
    client: Uid


class Refill(Message):
    n: int = Field(ge=1, le=32)
    have: list[Id] = []
    replace: bool = False


class GridOf(Message):
    """Images to be decided together: those taken for a class, or those like one of them.

    `among`: only these, and with `decided` the labeled ones of them instead of the open ones.
    """

    n: int = Field(ge=1, le=MOST)
    class_id: Whole | None = None
    order: Literal["certain", "doubtful"] = "certain"
    seen: list[Id] = Field([], max_length=10_000)
    alike: Id | None = None
    among: list[Id] | None = Field(None, max_length=MOST_AMONG)
    decided: bool = False


class Holding(Message):
    sample_ids: list[Id]


class Operation(BaseModel):
    """One press of a key, with what the screen showed when it was pressed.

    `client`: the screen of the tab where that is another one than the message's: an undo gives its image back to it.
    """

    uid: Uid
    kind: Literal["label", "skip", "unsure", "flag", "undo"]
    sample_id: Id
    class_id: Whole | None = None
    ms: Whole | None = Field(None, ge=0)
    version: Whole | None = None
    acquisition: Words | None = Field(None, max_length=40)
    score: float | None = None
    rank: Whole | None = None
    predicted_class_id: Whole | None = None
    predicted_prob: float | None = None
    purpose: Literal["learn", "measure"] = "learn"
    undoes: Uid | None = None
    group_id: Uid | None = None
    client: Uid | None = None


class Commit(Message):
    """`annotator`: who gave these answers. One that another person's cookie comes with is not stored as theirs."""

    operations: list[Operation] = Field(max_length=500)
    annotator: Words | None = Field(None, max_length=200)


class Name(BaseModel):
    name: str


class OwnKeys(BaseModel):
    """Which keys a person chose: 'class:3' or the name of an action -> one character, or '' for none."""

    project: str
    keys: dict[KeyTarget, Annotated[Words, Field(max_length=2)]] = Field(max_length=1000)


class Wanted(Message):
    """What one person wants to be asked. What is left out stays as it is; null lifts it."""

    sample_ids: list[Id] | None = Field(None, max_length=MOST_SELECTED)
    title: Words = Field("", max_length=80)
    class_id: Whole | None = None
    newest: bool = False


class Controlled(BaseModel):
    """How images are asked of everybody, and whether the model trains (control.py). What is left out stays as it is."""

    project: str
    paused: StrictBool = False
    acquisition: str = ""
    random_share: float = 0
    measure_share: float = 0
    diversity: float = 1


def routes(
    project: Project, trainer: Callable[[], dict[str, Any]] | None = None, sign_ins: SignIns | None = None
) -> APIRouter:
    """All routes of one project, under /labeler. `sign_ins`: where people have to sign in; the guard then lets no
    request through that does not come from an account."""
    desk = Desk(project, trainer)

    @asynccontextmanager
    async def while_served(app: Any) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(desk.sketches.close)

    api = APIRouter(prefix="/labeler", lifespan=while_served)
    if sign_ins is not None:
        sign_in_routes(api, sign_ins)
    _sitting(api, desk)
    waiting = Waiting(desk)
    _settings(api, desk, waiting)
    _pictures(api, desk)
    learning_routes(api, desk, _who)
    map_routes(api, desk)
    review_routes(api, desk, waiting, _who, _same_project_and_name)
    imagine_routes(api, desk, _name, _same_project_and_name)
    class_routes(api, desk, _same_project_and_name)
    return api


def _sitting(api: APIRouter, desk: Desk) -> None:
    """Questions out, answers in."""

    @api.post("/next")
    def next_questions(body: Refill, request: Request) -> dict[str, Any]:
        name = _same_project_and_name(desk, body.project, request)
        questions = desk.ask(name, body.client, body.n, body.have, body.replace)
        if questions:
            return {"questions": questions, "elsewhere": 0, "answered": 0, "narrowed": False}
        answered = desk.project.store.answered_by(name)
        narrowed = desk.project.narrowings.of(name).narrows
        return {
            "questions": [],
            "elsewhere": desk.elsewhere(name, body.client),
            "answered": answered,
            "narrowed": narrowed,
        }

    @api.post("/grid")
    def grid(body: GridOf, request: Request) -> dict[str, Any]:
        name = _same_project_and_name(desk, body.project, request)
        if body.decided and (body.among is None or body.alike is not None):
            raise HTTPException(422, "Decided images are among given ones: send their ids, and no image to be like.")
        what = body.model_dump(exclude={"project", "client"})
        try:
            return desk.grid(name, body.client, **what)
        except KeyError as problem:
            raise HTTPException(404, str(problem.args[0])) from None

    @api.post("/commit")
    def commit(body: Commit, request: Request) -> dict[str, Any]:
        name = _same_project_and_name(desk, body.project, request, body.annotator)
        events = [
            NewEvent(**{"annotator": name, "client": body.client} | operation.model_dump(exclude_none=True))
            for operation in body.operations
        ]
        stored, refused = desk.commit(name, events, own=not may(request, "reviewer"))
        return {"stored": stored, "refused": refused, "counts": desk.counts()}

    @api.post("/release")
    def release(body: Holding, request: Request) -> dict[str, Any]:
        name = _same_project_and_name(desk, body.project, request)
        return {"released": desk.project.store.release(name, body.client, keep=body.sample_ids)}

    @api.post("/renew")
    def renew(body: Holding, request: Request) -> dict[str, Any]:
        name = _same_project_and_name(desk, body.project, request)
        return {"held": desk.renew(name, body.client, body.sample_ids)}

    @api.get("/history")
    def history(request: Request) -> dict[str, Any]:
        return {"answers": desk.history(_name(request))}


def _settings(api: APIRouter, desk: Desk, waiting: Waiting) -> None:
    """Who labels, what is shown in the header, how the next image is chosen."""

    @api.get("/state")
    def state(request: Request) -> dict[str, Any]:
        account, who = account_of(request), _who(request)
        role = account.role if account else None
        return desk.state() | {
            "folder": str(desk.project.folder.resolve()) if account is None else desk.project.folder.name,
            "annotator": who,
            "role": role,
            "keys": desk.keys(who) if who else {},
            "queue": desk.narrowing(who) if who else {},
            "to_review": None if role == "annotator" else waiting.count(),
        }

    @api.post("/name")
    def name(body: Name, request: Request, response: Response) -> dict[str, Any]:
        if account_of(request) is not None:
            raise HTTPException(403, "Here a name comes with a password: sign out, and in again.")
        try:
            who = annotator_name(body.name)
            must_be_told_apart(who, desk.project.store.annotators())
        except ValueError as problem:
            raise HTTPException(422, str(problem)) from None
        desk.project.store.annotator(who)
        response.set_cookie(COOKIE, quote(who, safe=""), max_age=A_YEAR, httponly=True, samesite="strict")
        return {"annotator": who}

    @api.post("/keys")
    def keys(body: OwnKeys, request: Request) -> dict[str, Any]:
        desk.choose_keys(_same_project_and_name(desk, body.project, request), dict(body.keys))
        return {"keys": body.keys}

    @api.post("/queue")
    def queue(body: Wanted, request: Request) -> dict[str, Any]:
        name = _same_project_and_name(desk, body.project, request)
        changes = body.model_dump(include=body.model_fields_set - {"project", "client"})
        if "sample_ids" in changes and changes["sample_ids"] is None:
            changes["selected"] = changes.pop("sample_ids")
        try:
            return desk.narrow(name, body.client, changes)
        except KeyError as problem:
            raise HTTPException(404, str(problem.args[0])) from None
        except ValueError as problem:
            raise HTTPException(422, str(problem)) from None

    @api.post("/control")
    def control(body: Controlled, request: Request) -> dict[str, Any]:
        must_be(request, "admin")
        _same_project_and_name(desk, body.project, request)
        try:
            now = change(desk.project.store, body.model_dump(include=body.model_fields_set - {"project"}))
        except ValueError as problem:
            raise HTTPException(422, str(problem)) from None
        return {"control": asdict(now)}


def _pictures(api: APIRouter, desk: Desk) -> None:
    """Images by id, what the model draws, and the page's own files."""

    @api.get("/image/{sample_id}")
    def image(sample_id: Whole, request: Request, v: str = "") -> Response:
        return _picture(desk, sample_id, request, v, pictures.original)

    @api.get("/thumb/{sample_id}")
    def thumb(sample_id: Whole, request: Request, v: str = "") -> Response:
        return _picture(desk, sample_id, request, v, pictures.thumbnail)

    @api.get("/generated/{version}")
    def generated(version: int, request: Request) -> Response:
        tag = f'"{desk.key}-{version}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304)
        sheet = desk.generated_sheet(version)
        if sheet is None:
            raise HTTPException(404, f"Version {version} has no generated images (any more).")
        return Response(sheet, media_type="image/png", headers={**ASK_AGAIN, "ETag": tag})

    @api.get("/sketch/{version}/{sample_id}")
    async def sketch(version: int, sample_id: Whole, of: ClassIds) -> Response:
        """An empty answer while it is not drawn yet (202), or where it cannot be (204)."""
        try:
            wanted = await asyncio.to_thread(desk.sketch, version, sample_id, [int(i) for i in of.split(",")])
        except KeyError:
            raise HTTPException(404, f"There is no image {sample_id} in this project.") from None
        if wanted is None:
            return Response(status_code=204)
        return await drawn(wanted)

    @api.get("/ui/{name}")
    def file(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "No such file.")
        return FileResponse(HERE / name, media_type=FILES[name], headers=ASK_AGAIN)


def _picture(
    desk: Desk, sample_id: int, request: Request, v: str, encode: Callable[[Path, Any], tuple[bytes, str]]
) -> Response:
    """An image is named by id and the head of its hash; with the right hash it may be kept forever."""
    try:
        sample = desk.project.store.sample(sample_id)
    except KeyError:
        raise HTTPException(404, f"There is no image {sample_id} in this project.") from None
    tag = f'"{sample.sha256}"'
    headers = (FOREVER if v and sample.sha256.startswith(v) else ASK_AGAIN) | {"ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    try:
        data, media_type = encode(desk.project.folder, sample)
    except (OSError, ValueError) as problem:
        raise HTTPException(404, f"{sample.name} cannot be read any more: {problem}") from None
    return Response(data, media_type=media_type, headers=headers)


def _same_project_and_name(desk: Desk, key: str, request: Request, annotator: str | None = None) -> str:
    """Who asks. `annotator`: whose answers they say these are, which another person's cookie may not come with."""
    if key != desk.key:
        raise HTTPException(409, "Another project is served here now. Reload the page.")
    name = _name(request)
    if annotator not in (None, name):
        raise HTTPException(401, f"These answers are {annotator}'s, and {name} is labeling here now.")
    return name


def _name(request: Request) -> str:
    name = _who(request)
    if name is None:
        raise HTTPException(401, "Say who is labeling first.")
    return name


def _who(request: Request) -> str | None:
    """The account's name, or where nobody signs in the one that was typed."""
    account = account_of(request)
    if account is not None:
        return account.name
    try:
        return annotator_name(unquote(request.cookies.get(COOKIE, "")))
    except ValueError:
        return None
