"""The dashboard's files: built by Vite into ``services/api/static``, its addresses all answered by one page."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"

NOT_BUILT = """\
The dashboard is not built. In the source folder, './fleet demo' builds it, or:

    cd web && npm ci && npm run build

The API works without it; its description is at /openapi.json.
"""

_FOREVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"


class Dashboard(StaticFiles):
    """Files as they are; any other address without a dot is a page of the dashboard, which looks at it itself."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._index = folder / "index.html"

    async def check_config(self) -> None:
        """A folder that is not there is no error: the dashboard may be built while the API runs."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            is_page = error.status_code == 404 and "." not in path.removeprefix(".") and not path.startswith("api/")
            if not is_page:
                raise
            response = await self._page(scope)
        # Vite puts a hash of the content into the names below assets/.
        response.headers["Cache-Control"] = _FOREVER if path.startswith("assets/") else _ASK_FIRST
        return response

    async def _page(self, scope: Scope) -> Response:
        if not self._index.is_file():
            return PlainTextResponse(NOT_BUILT, status_code=503)
        return await super().get_response("index.html", scope)
