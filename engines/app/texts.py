"""Every text of the page, in one table. Another language is another dictionary with the same keys.

A browser gets the language it prefers, or English. What the engines say of a photo stays as they
say it, in English.
"""

import re
from collections.abc import Mapping

ENGLISH = "en"
TEXTS: dict[str, dict[str, str]] = {
    ENGLISH: {
        "title": "Deocclude",
        "about": "Removes what covers a face in a photo: masks, sunglasses, scarves, hands. What "
        "is drawn is a guess from what is visible, not evidence and no likeness. Your pictures "
        "stay on the machine that runs this page and are deleted when you close it.",
        "tab_photo": "One photo",
        "tab_many": "Many photos",
        "tab_video": "Video",
        "tab_live": "Live",
        "photo": "1. Photo",
        "examples": "Examples: nobody here exists",
        "faces": "Faces to restore",
        "mask": "2. What is redrawn",
        "find": "Find again",
        "upload_mask": "Upload a mask",
        "restore": "3. Restore",
        "result": "Before and after",
        "download": "Download the picture (PNG)",
        "download_mask": "Download the mask (PNG)",
        "settings": "Choices",
        "model": "Network",
        "model_info": "sharp draws outlines and detail, all of it invented; faithful keeps the "
        "error to the true face least and is smooth",
        "growth": "How far a found mask grows",
        "growth_info": "% of the face's square beyond what covers it; finds the mask anew",
        "blend": "How the edge is joined",
        "blend_info": "matched: a soft edge and the colours of what is around",
        "unsure": "Show where the network is unsure",
        "unsure_picture": "Where the network is unsure: black not at all, yellow most",
        "no_doubt": "{model} does not say where it is unsure, which does not mean that it is sure.",
        "files": "Photos, or zip files of photos",
        "start": "Restore all",
        "cancel": "Cancel",
        "zip": "Download the results (zip)",
        "table": "What became of each",
        "video": "Video or animated picture",
        "start_video": "Restore the video",
        "restored_video": "Restored",
        "download_video": "Download the video",
        "camera": "Camera",
        "live": "Restored",
        "live_hint": "Click on the camera, let the browser use it, then press the button in its "
        "picture. Pictures go to the machine that runs this page and nowhere else, and are not "
        "kept.",
        # the brush
        "tools": "Tools for the mask",
        "canvas": "The mask over the photo. Arrow keys move the brush, space paints, E changes "
        "between painting and erasing, [ and ] change its size.",
        "paint": "Paint",
        "erase": "Erase",
        "size": "Size",
        "undo": "Undo",
        "redo": "Redo",
        "invert": "Invert",
        "clear": "Clear",
        "grow": "Grow",
        "shrink": "Shrink",
        "empty": "Choose a photo: what covers the faces is marked here, and you can mend it.",
        "hint": "Red is redrawn; everything else stays as it is.",
        # what the page says
        "no_photo": "Choose a photo first.",
        "no_face": "No face was found. Paint over what is to be redrawn, or try another photo.",
        "nothing_covers": "Nothing that covers a face was found. If something does, paint over it.",
        "found": "{faces} found, {share} of the photo marked. Mend the mask if you like, then "
        "restore.",
        "one_face": "1 face",
        "several_faces": "{count} faces",
        "face": "face {number}",
        "no_chosen": "No face is chosen.",
        "nothing_marked": "Nothing is marked: paint over what is to be redrawn.",
        "mask_taken": "Your mask is taken. Mend it if you like, then restore.",
        "restored": "Restored in {seconds} s by {model}: {share} of the photo was redrawn.",
        "not_restored": "Nothing was redrawn.",
        "gone": "This page was open too long or the program was started anew: choose the file "
        "once more.",
        "defect": "Something went wrong here, not with your file. The program's log says what.",
        "wrong": "This could not be done: {reason}",
        "many": "{done} of {all}",
        "ended": "{summary}. The zip holds the results and manifest.csv, which says what became of "
        "each.",
        "cancelled": "Cancelled. What was done until then is in the zip.",
        "no_files": "Choose files first.",
        "too_long": "Stopped after {seconds} s, the most that this page gives to one task. On the "
        "command line there is no limit: deocclude FILE.",
        "video_done": "{frames} frames, {restored} of them restored.",
        "video_cancelled": "Cancelled; nothing was kept.",
        "rate": "{rate} pictures a second",
    }
}
# A language with or without a region and so on, or any; and its weight from 0 to 1.
RANGE = re.compile(
    r"(\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*)(?:\s*;\s*q=(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?"
)
COLUMNS = ("file", "status", "faces", "notes")  # of the table of many photos


def language_of(accepted: str | None) -> str:
    """The best language of TEXTS for the header Accept-Language of HTTP (RFC 9110, 12.5.4)."""
    weights: dict[str, float] = {}
    for part in (accepted or "").lower().split(","):
        if found := RANGE.fullmatch(part.strip()):
            name = found[1].split("-")[0]
            weights[name] = max(float(found[2] or 1), weights.get(name, 0))
    weights |= {name: weights.get("*", 0) for name in TEXTS if name not in weights}
    best = max((name for name in weights if name in TEXTS), key=weights.__getitem__)
    return best if weights[best] else ENGLISH


def words(accepted: str | None) -> Mapping[str, str]:
    """The texts for a browser that accepts these languages."""
    return TEXTS[language_of(accepted)]


def percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 or share == 0 else "less than 1%"
