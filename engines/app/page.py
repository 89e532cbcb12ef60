"""The page: its parts, in their order, and which handler each of them calls."""

from pathlib import Path
from typing import Any

import gradio as gr

from deocclude.engines.app.editor import BRUSH
from deocclude.engines.app.handlers import GROWTH, Handlers, as_frames, as_it_came
from deocclude.engines.app.texts import COLUMNS, TEXTS
from deocclude.engines.photos.blend import BLENDS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EVERY = 0.05  # seconds between two pictures of the camera, at least
LONGEST_LIVE = 300  # seconds that one visitor holds the camera's place
CSS = """
.gradio-container {
  max-width: 1280px !important; margin: 0 auto !important;
  overflow: clip !important; /* not hidden, in which nothing sticks */
}
body:not(.dark) .gradio-container {
  --block-info-text-color: var(--neutral-500); --body-text-color-subdued: var(--neutral-500);
}
.words p { margin: 0; }
#redrawn p { font-weight: 600; }
@media (min-width: 700px) and (min-height: 600px) {
  #act {
    position: sticky; bottom: 0; z-index: 5; padding: 8px 0; max-height: 40vh; overflow: auto;
    background: var(--body-background-fill);
  }
  #brush { scroll-margin-bottom: 110px; }
}
#examples .gallery .container { width: 68px; height: 68px; }
footer .divider { display: none; }
"""
SCROLL = """() => document.querySelector("#result")
?.scrollIntoView({behavior: "smooth", block: "nearest"})"""
# A reader hears what an example shows: Gradio's buttons hold a picture without words.
NAME = """() => document.querySelectorAll("#examples button").forEach((each) => {
const file = each.querySelector("img")?.src.split("/").pop() ?? "";
each.ariaLabel = file.replace(/^\\d+_|\\.\\w+$/g, "").replaceAll("_", " ");
})"""
# Of the operating system: nothing is fetched from elsewhere.
THEME = gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
OURS = "deocclude_"  # before each key: Gradio has texts of its own, some under the same keys
I18N = gr.I18n(
    **{name: {f"{OURS}{key}": line for key, line in table.items()} for name, table in TEXTS.items()}
)
# One photo at a time, one long task at a time, one camera at a time, side by side.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
PHOTO, TASK, CAMERA = (
    PRIVATE | {"concurrency_id": name, "concurrency_limit": 1}
    for name in ("photo", "task", "camera")
)


def text(key: str) -> Any:
    """A text of the table, in the visitor's language."""
    return I18N(f"{OURS}{key}")


def build(handlers: Handlers) -> gr.Blocks:
    """The page, to be launched."""
    names = handlers.models.names()
    with gr.Blocks(title=TEXTS["en"]["title"], analytics_enabled=False) as page:
        gr.Markdown("# Deocclude")
        gr.Markdown(text("about"))
        model, blend, unsure, growth = _choices(names)
        with gr.Tab(text("tab_photo")):
            _one_photo(handlers, model, blend, unsure, growth)
        with gr.Tab(text("tab_many")):
            _many_photos(handlers, model, blend)
        with gr.Tab(text("tab_video")):
            _video(handlers, model, blend)
        with gr.Tab(text("tab_live")):
            _live(handlers, model)
        _api(handlers, names)
        page.load(handlers.arrive, None, model, **PRIVATE).then(
            None, None, None, js=NAME, **PRIVATE
        )
        page.unload(handlers.leave)
    return page


def part(kind: Any, key: str, **options: Any) -> Any:
    """A part of this kind with the text `key` on it, by which the browser knows it too."""
    return kind(**{"elem_id": key, "value" if kind is gr.Button else "label": text(key)} | options)


def _choices(names: list[str]) -> tuple[gr.Dropdown, gr.Dropdown, gr.Checkbox, gr.Slider]:
    with gr.Accordion(text("settings"), open=False), gr.Row():
        model = part(gr.Dropdown, "model", choices=names, value=names[0], info=text("model_info"))
        growth = part(
            gr.Slider, "growth", minimum=0, maximum=12, value=GROWTH, step=0.5,
            info=text("growth_info"),
        )  # fmt: skip
        blend = part(
            gr.Dropdown, "blend", choices=list(BLENDS), value="matched", info=text("blend_info")
        )
        unsure = part(gr.Checkbox, "unsure")
    return model, blend, unsure, growth


def _one_photo(
    handlers: Handlers,
    model: gr.Dropdown,
    blend: gr.Dropdown,
    unsure: gr.Checkbox,
    growth: gr.Slider,
) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            sources = ["upload", "clipboard", "webcam"]
            source = as_it_came(part(gr.Image, "photo", sources=sources, height=300, buttons=[]))
            _examples(source)
            faces = part(gr.CheckboxGroup, "faces", visible=False)
        with gr.Column(scale=3, min_width=300):
            gr.Markdown(text("mask"), elem_id="redrawn")
            brush = gr.HTML(
                None,
                html_template=(BRUSH / "brush.html").read_text(encoding="utf-8"),
                css_template=(BRUSH / "brush.css").read_text(encoding="utf-8"),
                js_on_load=(BRUSH / "brush.js").read_text(encoding="utf-8"),
                picture=None, texts=TEXTS, elem_id="brush",
            )  # fmt: skip
            with gr.Column(elem_id="act"):  # in sight however tall the photo is
                with gr.Row():
                    find = part(gr.Button, "find", min_width=120)
                    mask = part(gr.UploadButton, "upload_mask", file_types=["image"], min_width=120)
                    restore = part(gr.Button, "restore", variant="primary", min_width=160)
                said = gr.Markdown(elem_id="words", elem_classes="words")
    with gr.Column(visible=False, elem_id="result") as result:
        slider = part(
            gr.ImageSlider, "result", type="filepath", interactive=False, buttons=["fullscreen"],
            elem_id="slider", slider_position=50, height="min(560px, 100vw)",
        )  # fmt: skip
        doubt = part(
            gr.Image, "unsure_picture", type="filepath", visible=False, interactive=False,
            elem_id="doubt", height="min(420px, 100vw)", buttons=["download", "fullscreen"],
        )  # fmt: skip
        with gr.Row():
            picture = part(gr.DownloadButton, "download", variant="primary")
            marked = part(gr.DownloadButton, "download_mask")
    found = [brush, faces, said, result]
    source.change(handlers.take_photo, [source, model, growth], found, **PHOTO)
    again = [brush, said]
    busy: dict[str, Any] = {"show_progress_on": said}  # an error leaves the mask to be seen
    for change in (find.click, faces.input, growth.release):
        change(handlers.find, [faces, model, growth], again, **busy, **PHOTO)
    mask.upload(handlers.take_mask, mask, again, **busy, **PHOTO)
    shown = [result, slider, doubt, picture, marked, said]
    restore.click(
        handlers.restore_photo, [brush, model, blend, unsure], shown, **busy, **PHOTO
    ).success(None, None, None, js=SCROLL, **PRIVATE)


def _examples(source: gr.Image) -> None:
    files = [[str(file)] for file in sorted(EXAMPLES.glob("*.jpg"))]
    if not files:
        return
    examples = part(gr.Dataset, "examples", components=["image"], samples=files, type="index")
    # gr.Examples would give a new part in the place of `source`, which reads files in its own way.
    examples.click(
        lambda number: examples.samples[number][0]["path"], examples, source,
        show_progress="hidden", **PRIVATE,
    )  # fmt: skip


def _many_photos(handlers: Handlers, model: gr.Dropdown, blend: gr.Dropdown) -> None:
    kinds = ["image", ".heic", ".heif", ".zip"]
    files = part(gr.File, "files", file_count="multiple", file_types=kinds, height=280)
    with gr.Row():
        start = part(gr.Button, "start", variant="primary")
        cancel = part(gr.Button, "cancel")
    said = gr.Markdown(elem_id="many_words", elem_classes="words")
    results = part(gr.DownloadButton, "zip", variant="primary", visible=False)
    table = part(
        gr.Dataframe, "table", headers=list(COLUMNS), interactive=False, wrap=True, type="array",
        column_widths=["25%", "15%", "10%", "50%"],
    )  # fmt: skip
    shown = [results, table, said]
    _run(handlers, start, cancel, handlers.restore_many, [files, model, blend], shown)


def _video(handlers: Handlers, model: gr.Dropdown, blend: gr.Dropdown) -> None:
    look: dict[str, Any] = {"height": 360, "buttons": [], "min_width": 300}
    with gr.Row():
        source = as_it_came(part(gr.Video, "video", sources=["upload"], **look))
        restored = part(gr.Video, "restored_video", interactive=False, **look)
    with gr.Row():
        start = part(gr.Button, "start_video", variant="primary")
        cancel = part(gr.Button, "cancel", elem_id="cancel_video")
    said = gr.Markdown(elem_id="video_words", elem_classes="words")
    result = part(gr.DownloadButton, "download_video", variant="primary", visible=False)
    shown = [restored, result, said]
    _run(handlers, start, cancel, handlers.restore_video, [source, model, blend], shown)


def _run(
    handlers: Handlers, start: gr.Button, cancel: gr.Button, task: Any, given: list, shown: list
) -> None:
    """The two buttons of a long task."""
    start.click(handlers.begin, None, None, queue=False, **PRIVATE).then(task, given, shown, **TASK)
    cancel.click(handlers.cancel, None, None, queue=False, **PRIVATE)


def _live(handlers: Handlers, model: gr.Dropdown) -> None:
    with gr.Row():
        look: dict[str, Any] = {"height": 360, "buttons": [], "min_width": 300, "streaming": True}
        camera = as_frames(part(gr.Image, "camera", sources=["webcam"], **look))
        restored = part(gr.Image, "live", interactive=False, format="jpeg", **look)
    said = gr.Markdown(text("live_hint"), elem_id="live_words", elem_classes="words")
    camera.stream(
        handlers.look, [camera, model], [restored, said], stream_every=EVERY,
        time_limit=LONGEST_LIVE, show_progress="hidden", **CAMERA,
    )  # fmt: skip


def _api(handlers: Handlers, names: list[str]) -> None:
    """What programs call, without parts on the page: docs/app.md."""
    photo = gr.File(visible=False, label="photo")
    mask = gr.File(visible=False, label="mask")
    model = gr.Dropdown(names, value=names[0], visible=False, label="model")
    blend = gr.Dropdown(list(BLENDS), value="matched", visible=False, label="blend")
    picture = gr.File(visible=False, label="restored")
    marked = gr.File(visible=False, label="mask")
    notices = gr.Textbox(visible=False, label="notices")
    gr.Button(visible=False).click(
        handlers.restore, [photo, mask, model, blend], [picture, marked, notices],
        **PHOTO | {"api_visibility": "public", "api_name": "restore"},
    )  # fmt: skip
