"""Make the secrets of docker-compose.yml: ``python3 deploy/make_secrets.py``. Standard library only.

Writes ``deploy/secrets/``. The folder is closed to other users; the files in it are readable, because each is mounted
alone into containers that run as users of their own. Run again, it keeps what is there: an installation never loses its
passwords.
"""

import base64
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "secrets"
DEMO_MACHINES = 10
_ITERATIONS = 101  # of Mosquitto's own password tool; the passwords are random, so more would add nothing


def main() -> None:
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    database, ingest = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    devices = {f"D-{k:04d}": secrets.token_urlsafe(24) for k in range(1, DEMO_MACHINES + 1)}
    files = {
        "database_password": database,
        "database_url": f"postgresql://dermafleet:{database}@database:5432/dermafleet",
        "mqtt_url": f"mqtt://ingest:{ingest}@broker:1884",
        "mosquitto_passwd": "".join(_mosquitto_line(user, password) for user, password in _users(ingest, devices)),
        "machines": json.dumps(_machines(devices), indent=2),
    }
    absent = [name for name in files if not (FOLDER / name).exists()]
    if not absent:
        print(f"{FOLDER} is complete, nothing changed")
        return
    if len(absent) < len(files):
        sys.exit(f"{FOLDER} lacks {', '.join(absent)}: bring back the copy they belong to; the others are in use")
    for name, text in files.items():
        (FOLDER / name).write_text(text)
        os.chmod(FOLDER / name, 0o644)
    print(f"wrote {', '.join(files)} to {FOLDER}")


def _users(ingest: str, devices: dict[str, str]) -> list[tuple[str, str]]:
    return [("ingest", ingest), *devices.items()]


def _mosquitto_line(user: str, password: str) -> str:
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"{user}:$7${_ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def _machines(devices: dict[str, str]) -> dict[str, object]:
    return {
        "mqtt_urls": {device: f"mqtt://{device}:{password}@broker:1883" for device, password in devices.items()},
        "machines": [
            {
                "device_id": device,
                "model": "crystal-m1",
                "seed": k,
                "fault": "filter_clogged" if k == 0 else None,
                "clog_s": 90,
            }
            for k, device in enumerate(devices)
        ],
    }


if __name__ == "__main__":
    main()
