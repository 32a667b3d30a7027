"""Who labels: names, passwords, and the signed cookie that says who is signed in.

Passwords are hashed with Argon2id (RFC 9106) by argon2-cffi; the cookie is signed by itsdangerous with a secret that
the project made for itself. A cookie ends for good when its account is disabled or gets another password or role, at
the latest after SIGNED_IN_SECONDS.
"""

import hashlib
import secrets
import threading
import time
import unicodedata
from collections import defaultdict, deque
from collections.abc import Iterable

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error
from itsdangerous import BadData, URLSafeTimedSerializer

from storage import Account, Store

SIGNED_IN_SECONDS = 14 * 24 * 3600
SHORTEST = 10  # characters of a password
LONGEST = 200
OF_NAME, OF_ADDRESS = 5, 30  # failed attempts within FORGOTTEN seconds, of one address for one name, and for any
FORGOTTEN = 300.0

_hasher = PasswordHasher()
_nobody = _hasher.hash(secrets.token_hex(16))  # what a password of an unknown name is checked with: it takes as long


class NotSignedIn(Exception):
    """Name or password are wrong, or the account is disabled: which of these is not told."""


class TooManyAttempts(Exception):
    """`seconds` until the next one is heard."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Too many attempts. Try again in {max(1, round(seconds / 60))} min.")
        self.seconds = seconds


def annotator_name(typed: str) -> str:
    """A name as it is kept: NFC, single spaces, 1 to 40 printable characters. ValueError for one that will not do."""
    name = " ".join(unicodedata.normalize("NFC", typed).split())
    if not name:
        raise ValueError("Please type a name.")
    if len(name) > 40 or not name.isprintable():
        raise ValueError("A name has at most 40 printable characters.")
    if name.casefold() == "import":
        raise ValueError("'import' marks labels that came with the images. Please take another name.")
    return name


def must_be_told_apart(name: str, known: Iterable[str]) -> None:
    """ValueError for a new name that differs from a known one by capital letters alone: one person would be two."""
    known = list(known)
    alike = next((one for one in known if one != name and one.casefold() == name.casefold()), None)
    if alike is not None and name not in known:
        raise ValueError(f"There is {alike} already. Write it the same way, or take a name that differs by more.")


def hashed(password: str, name: str) -> str:
    """What is kept of a password. ValueError for one that is short, very long, or the name itself."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"A password has {SHORTEST} to {LONGEST} characters.")
    if name.casefold() in password.casefold() and len(password) < len(name) + SHORTEST:
        raise ValueError("The password is little more than the name. Choose another one.")
    return _hasher.hash(password)


class SignIns:
    """Sign-in for one project; threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cookies = URLSafeTimedSerializer(_secret(store), salt="labeler sign-in")
        self._attempts = Attempts()
        self._hashing = threading.Lock()

    def sign_in(self, name: str, password: str, address: str) -> tuple[Account, str]:
        """(account, cookie). NotSignedIn, or TooManyAttempts before anything is looked at."""
        try:
            name = annotator_name(name)
        except ValueError:
            raise NotSignedIn from None
        with self._hashing:  # a hash takes 64 MiB: one at a time, and the next attempt knows of this one
            self._attempts.must_be_few(name, address)
            account = self._store.account(name)
            fits = _fits(account.password_hash if account else _nobody, password)
            if not fits or account is None or account.disabled:
                self._attempts.failed(name, address)
                raise NotSignedIn
            self._attempts.succeeded(name, address)
            if _hasher.check_needs_rehash(account.password_hash):
                account = self._store.change_account(name, password_hash=_hasher.hash(password))
        return account, self._cookies.dumps([account.name, _mark(account)])

    def who(self, cookie: str | None) -> Account | None:
        """Whom a cookie signs in at this moment."""
        try:
            name, mark = self._cookies.loads(cookie or "", max_age=SIGNED_IN_SECONDS)
        except (BadData, ValueError, TypeError):
            return None
        account = self._store.account(name)
        return account if account and not account.disabled and secrets.compare_digest(_mark(account), mark) else None


class Attempts:
    """Failed attempts to sign in, of the last FORGOTTEN seconds. Kept in memory: a restart forgets them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: defaultdict[tuple[str, ...], deque[float]] = defaultdict(deque)

    def must_be_few(self, name: str, address: str) -> None:
        now = time.monotonic()
        with self._lock:
            for key, most in zip(_keys(name, address), (OF_NAME, OF_ADDRESS), strict=True):
                times = self._recent(key, now)
                if len(times) >= most:
                    raise TooManyAttempts(times[0] + FORGOTTEN - now)

    def failed(self, name: str, address: str) -> None:
        now = time.monotonic()
        with self._lock:
            for key in _keys(name, address):
                self._failed[key].append(now)
            for key in list(self._failed):
                self._recent(key, now)

    def succeeded(self, name: str, address: str) -> None:
        with self._lock:
            self._failed.pop((address, name), None)

    def _recent(self, key: tuple[str, ...], now: float) -> deque[float]:
        times = self._failed.get(key, deque())
        while times and now - times[0] > FORGOTTEN:
            times.popleft()
        if not times:
            self._failed.pop(key, None)
        return times


def _keys(name: str, address: str) -> list[tuple[str, ...]]:
    return [(address, name), (address,)]


def _fits(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except Argon2Error:
        return False


def _mark(account: Account) -> str:
    """Another one in each generation of the account."""
    return hashlib.sha256(f"{account.generation} {account.password_hash}".encode()).hexdigest()[:16]


def _secret(store: Store) -> str:
    secret = store.setting("sign_in_secret")
    if secret is None:
        secret = secrets.token_hex(32)
        store.set_setting("sign_in_secret", secret)
    return str(secret)
