"""What the page does when a part of it is used.

The methods of `Handlers` are Gradio's event listeners: values of parts in, values or changes of
parts out.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from deocclude.data.images import to_rgb
from deocclude.engines.api import Restored, Restorer
from deocclude.engines.app import batch
from deocclude.engines.app import photo as photos
from deocclude.engines.app.editor import mask_url, reduce
from deocclude.engines.app.limits import MOST_FACES, Limits
from deocclude.engines.app.live import LivePicture, read_frame
from deocclude.engines.app.models import Models
from deocclude.engines.app.names import without_folders
from deocclude.engines.app.sessions import Session, Sessions
from deocclude.engines.app.texts import percent, words
from deocclude.engines.jobs.plan import Choices
from deocclude.engines.photos.files import read_photo
from deocclude.engines.photos.restoration import NO_FACE

GROWTH = 3.0  # % of a face's square: engines.inference.hole_mask.DILATION
Told = partial(gr.Error, print_exception=False)  # what a visitor did: not for the log
logger = logging.getLogger(__name__)


def as_it_came(part: gr.Image | gr.Video) -> Any:
    """The part, which gives its handlers the path of the file: Gradio would decode a picture before
    its size is known. (A subclass would do; Gradio writes a file beside its source.) Listeners may
    change its value but no property, or the visitor gets one of Gradio's instead."""
    return _given(part, lambda payload: Path(payload.path))


def as_frames(part: gr.Image) -> Any:
    """The part, which gives its handlers what a camera sees, uint8 (H, W, 3)."""
    return _given(part, lambda payload: read_frame(payload.url, payload.path))


def _given(part: Any, read: Callable[[Any], Any]) -> Any:
    part.preprocess = lambda payload: None if payload is None else read(payload)
    return part


class Handlers:
    """Of one page, for all who visit it."""

    def __init__(self, models: Models, sessions: Sessions, limits: Limits) -> None:
        self.models, self.sessions, self.limits = models, sessions, limits

    def visit(self, request: gr.Request) -> Session:
        return self.sessions.open(str(request.session_hash))

    def arrive(self, request: gr.Request) -> Any:
        """A tab is opened: the networks that can be chosen."""
        self.visit(request).tab = True
        return gr.Dropdown(self.models.names())

    def leave(self, request: gr.Request) -> None:
        """A tab is closed: its task ends, its files are deleted."""
        self.sessions.close(str(request.session_hash))

    def restorer(self, model: str | None) -> Restorer:
        return Restorer(self.models.get(model, "photo"))

    @contextmanager
    def _answering(self, request: gr.Request) -> Iterator[tuple[Session, Mapping[str, str]]]:
        """Work for a visit, which lasts until it is done, and the texts to answer in. What is wrong
        is said as `told` says it."""
        visit, say = self.visit(request), texts_for(request)
        with visit.working(), told(say):
            yield visit, say

    # One photo

    def take_photo(
        self, path: Path | None, model: str, growth: float, request: gr.Request
    ) -> tuple[Any, ...]:
        """A photo came or went: its faces, and what covers them."""
        visit, say = self.visit(request), texts_for(request)
        if path is not None and path == visit.source:  # Gradio tells of some changes twice
            return (gr.skip(),) * 4
        visit.source, visit.photo, line = path, None, ""
        if path is not None:
            visit.saw(path)
            try:
                with self._answering(request):
                    restorer = self.restorer(model)
                    visit.photo = photos.open_photo(restorer, path, self.limits)
                    photos.find(restorer, visit.photo, visit.photo.chosen, grown(growth))
                    line = found_words(visit.photo, say)
            except gr.Error as error:  # raised, it would leave the photo before on the page
                visit.photo, line = None, listed(_plain(error.message), [])
                gr.Warning(error.message)
        nothing = gr.Column(visible=False)
        return brush(visit.photo), faces_choice(visit.photo, say), line, nothing

    def find(
        self, chosen: list[str], model: str, growth: float, request: gr.Request
    ) -> tuple[Any, ...]:
        """Look anew for what covers the chosen faces."""
        with self._answering(request) as (visit, say):
            one = photo_of(visit, say, bool(chosen))
            photos.find(self.restorer(model), one, list(map(int, chosen)), grown(growth))
            return brush(one), found_words(one, say)

    def take_mask(self, path: str | None, request: gr.Request) -> tuple[Any, ...]:
        with self._answering(request) as (visit, say):
            one = photo_of(visit, say)
            if path is None:
                return brush(one), ""
            visit.saw(Path(path))
            notices = photos.take_mask(one, Path(path), self.limits)
            return brush(one), listed(say["mask_taken"], notices)

    def restore_photo(
        self, value: Any, model: str, blend: str, unsure: bool, request: gr.Request
    ) -> tuple[Any, ...]:
        """The photo restored: two pictures to compare, files to download, words."""
        with self._answering(request) as (visit, say):
            one = photo_of(visit, say, bool(value))
            outcome = photos.restore(self.restorer(model), one, value, blend, unsure)
            if outcome is None or not outcome.restored.changed:
                notices = outcome.restored.notices if outcome else []
                line = say["not_restored"] if outcome else say["nothing_marked"]
                return gr.Column(visible=False), None, gr.Image(visible=False), None, None, listed(
                    line, notices
                )  # fmt: skip
            notices = list(outcome.restored.notices)
            if unsure and not states_doubt(outcome.restored.uncertainty):
                unsure = False
                notices.append(say["no_doubt"].format(model=model))
            files = written(outcome.restored, one.path, visit.place, unsure)
            line = say["restored"].format(
                seconds=f"{outcome.seconds:.1f}", model=model, share=percent(outcome.share)
            )
            return gr.Column(visible=True), *files, listed(line, notices)

    def restore(
        self,
        photo: str | None,
        mask: str | None = None,
        model: str | None = None,
        blend: str = "matched",
        request: gr.Request = None,  # type: ignore[assignment]  # Gradio gives it
    ) -> tuple[str | None, str, str]:
        """What programs call: a photo, and a mask or none; the restored photo or none where nothing
        was redrawn, the mask, and what to know, one notice a line."""
        session, say = self.visit(request), words(None)
        with session.working(), told(say):
            if photo is None:
                raise ValueError("photo: missing")
            for file in filter(None, (photo, mask)):
                session.saw(file)
                photos.check_file(Path(file), self.limits)
            restored = self.restorer(model).restore(photo, mask, blend=blend, faces=MOST_FACES)
            stem = Path(photo).stem
            marked = session.place(f"{stem}-mask.png")
            restored.mask.save(marked)
            result = None
            if restored.changed:
                result = str(restored.save(session.place(f"{stem}-restored.png")))
        return result, str(marked), "\n".join(map(without_folders, restored.notices))

    # Many photos and videos

    def restore_many(
        self,
        files: list[str] | None,
        model: str,
        blend: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - Gradio looks for it there
    ) -> tuple[Any, ...]:
        with self._answering(request) as (visit, say):
            if not files:
                raise Told(say["no_files"])
            task = self._task(visit, model, blend, shown(progress, say))
            done = batch.restore_many(task, [visit.saw(path) for path in files])
            lines = [say["ended"].format(summary=done.summary)]
            lines += [say["cancelled"]] * done.cancelled + [self._too_long(say)] * done.late
        table = [[row.input, row.status, row.faces, "; ".join(row.warnings)] for row in done.rows]
        return gr.DownloadButton(value=str(done.zip), visible=True), table, "  \n".join(lines)

    def restore_video(
        self,
        path: Path | None,
        model: str,
        blend: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[Any, ...]:
        with self._answering(request) as (visit, say):
            if path is None:
                raise Told(say["no_files"])
            hidden = gr.DownloadButton(visible=False)
            try:
                task = self._task(visit, model, blend, shown(progress, say))
                row, file = batch.restore_clip(task, visit.saw(path))
            except batch.Cancelled:
                return None, hidden, say["video_cancelled"]
            except batch.TimeIsUp:
                return None, hidden, self._too_long(say)
            if not row.output:
                return None, hidden, listed(say["not_restored"], row.warnings)
            line = say["video_done"].format(frames=row.frames, restored=row.frames_restored)
            button = gr.DownloadButton(value=str(file), visible=True)
            return str(file), button, listed(line, row.warnings)

    def _task(self, visit: Session, model: str, blend: str, told: batch.Told) -> batch.Task:
        """A long task of a visit, and a folder for it."""
        folder = visit.place("task")
        folder.mkdir()
        choices = Choices(blend=blend, overwrite=True)
        networks = self.models.get(model, "many")
        return batch.Task(networks, model, choices, folder, self.limits, visit.stop, told)

    def _too_long(self, say: Mapping[str, str]) -> str:
        return say["too_long"].format(seconds=f"{self.limits.seconds:g}")

    def begin(self, request: gr.Request) -> None:
        """A task is asked for: from now on it can be cancelled, while it waits for others too."""
        self.visit(request).stop.clear()

    def cancel(self, request: gr.Request) -> None:
        self.visit(request).stop.set()

    # The camera

    def look(
        self, frame: np.ndarray | None, model: str, request: gr.Request
    ) -> tuple[np.ndarray | None, str]:
        """One picture of the camera, restored."""
        visit, say = self.visit(request), texts_for(request)
        if frame is None:
            visit.live = None
            return None, say["live_hint"]
        if visit.live is None or visit.live.model != model:
            for other in self.sessions:  # one camera at a time: no other detector stays open
                other.live = None
            visit.live = LivePicture(self.models.get(model), model)
        restored, rate = visit.live.restore(frame), visit.live.rate
        return restored, say["rate"].format(rate=f"{rate:.1f}") if rate else say["live_hint"]


# What parts are told


def brush(one: photos.OnePhoto | None) -> Any:
    """The brush with a photo and its mask, or empty."""
    if one is None:
        return gr.HTML(value=None, picture=None)
    return gr.HTML(value={"mask": mask_url(one.shown)}, picture=one.picture())


def faces_choice(one: photos.OnePhoto | None, say: Mapping[str, str]) -> Any:
    """The faces to choose from, where there are several."""
    numbers = range(1, len(one.faces) + 1) if one is not None else ()
    choices = [(say["face"].format(number=number), str(number)) for number in numbers]
    return gr.CheckboxGroup(choices, value=[v for _, v in choices], visible=len(choices) > 1)


def found_words(one: photos.OnePhoto, say: Mapping[str, str]) -> str:
    if not one.faces:
        return listed(say["no_face"], [each for each in one.notices if each != NO_FACE])
    if not one.chosen:
        return say["no_chosen"]
    share = float(one.mask.mean())
    if not share:
        return listed(say["nothing_covers"], one.notices)
    count = len(one.faces)
    faces = say["one_face"] if count == 1 else say["several_faces"].format(count=count)
    line = say["found"].format(faces=faces, share=percent(share))
    return listed(line, one.notices)


def listed(line: str, notices: list[str]) -> str:
    """Markdown: a line, and below it what else there is to know. Notices may hold a file's name,
    which must not be taken for markup."""
    return "\n".join([line, "", *(f"- {_plain(text)}" for text in notices)])


def states_doubt(uncertainty: np.ndarray | None) -> bool:
    """Whether any of it would be seen; black all over would read as certainty."""
    return uncertainty is not None and bool((uncertainty >= 1 / 255).any())


def _plain(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&$-])", r"\\\1", text)


def grown(percents: float) -> float | None:
    """None for the library's own growth, which it knows best."""
    return None if percents == GROWTH else percents


def compared(picture: Path | Image.Image) -> Image.Image:
    """A photo for the slider: upright, reduced, RGB."""
    rgb = read_photo(picture).rgb if isinstance(picture, Path) else np.asarray(to_rgb(picture))
    return Image.fromarray(reduce(rgb, photos.SLIDER))


def written(
    restored: Restored, source: Path, place: Callable[[str], Path], unsure: bool
) -> tuple[tuple[str, str], Any, str, str]:
    """A restored photo's files: two to compare, how unsure the network is, itself, its mask."""
    before, after = (place(f"{name}.jpg") for name in ("before", "after"))
    compared(source).save(before, quality=92)
    compared(restored.image).save(after, quality=92)
    doubt = gr.Image(visible=False)
    if unsure:
        picture = place("unsure.png")
        photos.doubt_picture(restored).save(picture)
        doubt = gr.Image(str(picture), visible=True)
    mask = place(f"{source.stem}-mask.png")
    restored.mask.save(mask)
    file = restored.save(place(f"{source.stem}-restored.png"))
    return (str(before), str(after)), doubt, str(file), str(mask)


def shown(progress: gr.Progress, say: Mapping[str, str]) -> batch.Told:
    """Tells Gradio's bar how much is done."""

    def told(done: int, total: int | None) -> None:
        words = say["many"].format(done=done, all="?" if total is None else total)
        progress((done, total), desc=words) if total else progress(None, desc=words)

    return told


def photo_of(visit: Session, say: Mapping[str, str], shown: bool = False) -> photos.OnePhoto:
    """The visit's photo; `shown`: the page still shows one, which may be gone here."""
    if visit.photo is None or not visit.photo.path.exists():
        raise Told(say["gone" if shown or visit.photo else "no_photo"])
    return visit.photo


@contextmanager
def told(say: Mapping[str, str]) -> Iterator[None]:
    """What is wrong with a visitor's file or choice is said on the page, without this machine's
    paths; anything else is a defect: it is logged, and the page says only that."""
    try:
        yield
    except (gr.Error, batch.Cancelled):
        raise
    except (ValueError, OSError) as error:
        raise Told(say["wrong"].format(reason=without_folders(str(error)))) from None
    except Exception:
        logger.exception("a visitor's request failed")
        raise Told(say["defect"]) from None


def texts_for(request: gr.Request) -> Mapping[str, str]:
    return words(request.headers.get("accept-language"))
