"""Addresses of the viewer: its page, what it has to know, the volumes, and single slices as pictures."""

import os
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any, BinaryIO, Final, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from dicom_node.errors import UnknownCase
from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.fault_answers import TITLES, Fault
from dicom_node.web.guard import Viewer
from dicom_node.web.node import TheNode, WebNode
from dicom_node.web.page import page
from dicom_node.web.viewer.patient_volumes import PatientCt, PatientResult
from dicom_node.web.viewer.slice_pictures import PLANES, SliceLook, slice_picture
from dicom_node.web.viewer.view_facts import MAP_OPACITY, ViewFacts, view_facts
from dicom_node.web.viewer.volume_cache import VolumeCache
from dicom_node.web.viewer.volumes import LUNG_WINDOW_HU, VolumeName
from dicom_node.web.viewing import told_view

_CASE_ID: Final = re.compile(r"[0-9a-f]{16}")
_CHUNK: Final = 1 << 20
_KEPT: Final = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding"}
"""A browser may keep a volume, and asks each time whether it is still the one."""


class SliceQuery(BaseModel):
    """How a slice is to be shown."""

    from_hu: float = Field(LUNG_WINDOW_HU[0], ge=-10_000, le=30_000, description="drawn black")
    to_hu: float = Field(LUNG_WINDOW_HU[1], ge=-10_000, le=30_000, description="drawn white")
    opacity: float = Field(MAP_OPACITY, ge=0, le=1, description="of the map")
    threshold: float = Field(0.0, ge=0, le=1000, description="smaller values of the map are not drawn, % of lung mean")
    outlines: bool = Field(True, description="lobes and function regions")

    def look(self) -> SliceLook:
        """The same for whoever draws."""
        return SliceLook((self.from_hu, self.to_hu), self.opacity, self.threshold, self.outlines)


class _CaseRoute(APIRoute):
    """Answers 404 where files of a case go while they are read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of one request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except FileNotFoundError as fault:
                raise HTTPException(404, "CASE_REMOVED: The files of this case are not here any more.") from fault

        return answer


_NO_CT: Final = "NO_CT: The CT of this case has not been read yet, or could not be read."
_NO_RESULT: Final = "NO_RESULT: This case has no result yet, or came to none."
_NO_SLICE: Final = "NO_SLICE: The CT has no slice of this number."
_NOT_THERE: Final[dict[int | str, dict[str, Any]]] = {404: {"model": Fault, "description": TITLES[404]}}

router = APIRouter(route_class=_CaseRoute, tags=["viewer"], responses=_NOT_THERE)
CaseId = Annotated[str, Path(description="Id of a case, whole.")]


@router.get("/cases/{case_id}/viewer", response_class=HTMLResponse, include_in_schema=False)
def viewer_page(request: Request, case_id: CaseId, node: TheNode, person: Viewer) -> HTMLResponse:
    """The viewer alone on a page."""
    _case(node, case_id)
    return page(request, "viewer.html", person, case_id=case_id)


@router.get("/api/v1/cases/{case_id}/view")
def view(case_id: CaseId, node: TheNode, person: Viewer, response: Response) -> ViewFacts:
    """What a viewer has to know of a case: geometry, colours, findings, and the addresses of its volumes."""
    case = _case(node, case_id)
    told_view(node, person, case_id)
    response.headers["Cache-Control"] = "private, no-store"
    ct, result = _ct(case), _result(case)
    return view_facts(node.operations.show(case_id), ct, result, f"/api/v1/cases/{case_id}/volumes/")


@router.get(
    "/api/v1/cases/{case_id}/volumes/{name}.nii",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "NIfTI-1, one file, in patient axes."},
        304: {"description": "The volume is still the one whose ETag was sent."},
    },
)
def volume(request: Request, case_id: CaseId, name: VolumeName, node: TheNode, person: Viewer) -> Response:
    """A volume of a case."""
    case = _case(node, case_id)
    told_view(node, person, case_id)
    _require(case, with_result=name.is_of_result)
    cache = VolumeCache(case)
    is_packed = name.is_packed and "gzip" in request.headers.get("accept-encoding", "")
    headers = _KEPT | {"ETag": f'"{cache.version(name)}{"-gz" if is_packed else ""}"'}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    file = cache.opened(name, packed=is_packed)
    headers["Content-Length"] = str(os.fstat(file.fileno()).st_size)
    if is_packed:
        headers["Content-Encoding"] = "gzip"
    return StreamingResponse(_chunks(file), media_type="application/octet-stream", headers=headers)


@router.get(
    "/api/v1/cases/{case_id}/slices/{plane}/{number}.png",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The slice as a picture."}},
)
def slice_png(
    case_id: CaseId,
    plane: Literal["axial", "coronal", "sagittal"],
    number: Annotated[int, Path(description="Of the slice, row or column in patient axes, from 0.")],
    node: TheNode,
    person: Viewer,
    look: Annotated[SliceQuery, Query()],
) -> Response:
    """One slice of a case as a picture, for browsers that cannot draw volumes."""
    case = _case(node, case_id)
    told_view(node, person, case_id)
    grid, result = _ct(case).grid, _result(case)
    if not 0 <= number < grid.shape[PLANES[plane].axis]:
        raise HTTPException(404, _NO_SLICE)
    png = slice_picture(VolumeCache(case), grid, PLANES[plane], number, look.look(), has_result=result is not None)
    return Response(png, media_type="image/png", headers={"Cache-Control": "private, no-store"})


def _case(node: WebNode, case_id: str) -> CaseFolder:
    case = node.settings.cases().folder(case_id)
    if not _CASE_ID.fullmatch(case_id) or not (case.path / "case.json").exists():
        raise UnknownCase(case_id if _CASE_ID.fullmatch(case_id) else "of that id")
    return case


def _require(case: CaseFolder, *, with_result: bool) -> None:
    if not case.ct.exists():
        raise HTTPException(404, _NO_CT)
    if with_result and not case.result.exists():
        raise HTTPException(404, _NO_RESULT)


def _ct(case: CaseFolder) -> PatientCt:
    _require(case, with_result=False)
    return PatientCt.of(case)


def _result(case: CaseFolder) -> PatientResult | None:
    try:
        return PatientResult.of(case)
    except FileNotFoundError:
        return None


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
