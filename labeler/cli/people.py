"""Commands about the people who may sign in."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from labeler.cli.base import AsJson, ProjectFolder, app, count, print_json, typed, usable
from labeler.terminal import tell


class Role(StrEnum):
    annotator = "annotator"
    reviewer = "reviewer"
    admin = "admin"


ROLES_TOLD = (
    "annotator labels; reviewer also changes classes and settles what others disagree about; admin also changes how "
    "images are chosen."
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The person's name, as it is kept with every label.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking for it.")
]

user = typer.Typer(
    help="Who may sign in to a project's page. " + ROLES_TOLD,
    epilog="Example: labeler user add flowers ann --role admin",
    rich_markup_mode=None,
)
app.add_typer(user, name="user")


@user.command(epilog="Example: labeler user add flowers ann --role admin")
def add(
    project: ProjectFolder,
    name: Name,
    role: Annotated[Role, typer.Option(help=ROLES_TOLD)] = Role.annotator,
    password_stdin: FromStdin = False,
) -> None:
    """Make an account. Labels that were given under this name without one stay the person's."""
    from labeler import Project
    from labeler.accounts import hashed, must_be_told_apart

    name = _name(name)
    with Project.open(project) as p:
        if p.store.account(name) is not None:
            raise ValueError(f"There is an account {name} already. 'labeler user password' changes its password.")
        must_be_told_apart(name, p.store.annotators())
        account = p.store.add_account(name, role.value, hashed(_password(password_stdin), name))
    tell(f"{account.name} may sign in as {account.role}. Next: labeler serve {typed(project)} --auth")


@user.command("list", epilog="Example: labeler user list flowers --json")
def list_(project: ProjectFolder, as_json: AsJson = False) -> None:
    """Who may sign in, and as what."""
    from labeler import Project

    with Project.open(project) as p:
        accounts = p.store.accounts()
    if as_json:
        print_json([{"name": one.name, "role": one.role, "disabled": one.disabled} for one in accounts])
        return
    width = max((len(one.name) for one in accounts), default=0)
    for one in accounts:
        tell(f"{one.name:{width}}  {one.role}{', disabled' if one.disabled else ''}")
    tell(f"{count(len(accounts), 'account')}." if accounts else "No accounts yet: labeler user add PROJECT NAME")


@user.command(epilog="Example: labeler user password flowers ann")
def password(project: ProjectFolder, name: Name, password_stdin: FromStdin = False) -> None:
    """Give a new password. Whoever is signed in under this name has to sign in again."""
    from labeler import Project
    from labeler.accounts import hashed

    name = _name(name)
    with Project.open(project) as p:
        p.store.must_have_account(name)  # before a password is asked for
        p.store.change_account(name, password_hash=hashed(_password(password_stdin), name))
    tell(f"{name} has a new password.")


@user.command("role", epilog="Example: labeler user role flowers ben reviewer")
def role_(
    project: ProjectFolder, name: Name, role: Annotated[Role, typer.Argument(metavar="ROLE", help=ROLES_TOLD)]
) -> None:
    """Change what somebody may do. It holds at once: who is signed in has to sign in again."""
    from labeler import Project

    with Project.open(project) as p:
        account = p.store.change_account(_name(name), role=role.value)
    tell(f"{account.name} is {account.role} now.")


@user.command(epilog="Example: labeler user disable flowers ben")
def disable(project: ProjectFolder, name: Name) -> None:
    """Sign somebody out, everywhere. Labels stay; after 'enable' they may sign in anew."""
    from labeler import Project

    with Project.open(project) as p:
        account = p.store.change_account(_name(name), disabled=True)
    tell(f"{account.name} can no longer sign in.")


@user.command(epilog="Example: labeler user enable flowers ben")
def enable(project: ProjectFolder, name: Name) -> None:
    """Let somebody sign in again."""
    from labeler import Project

    with Project.open(project) as p:
        account = p.store.change_account(_name(name), disabled=False)
    tell(f"{account.name} may sign in again, as {account.role}.")


def _name(typed: str) -> str:
    from labeler.accounts import annotator_name

    return usable(lambda: annotator_name(typed))


def _password(from_stdin: bool) -> str:
    """Asked for twice, never shown; from a pipe its first line."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ValueError("There is no terminal to ask for a password. Pipe it in with --password-stdin.")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
