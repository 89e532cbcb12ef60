"""Tables as Markdown, LaTeX and CSV files."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deocclude.data.files import write_text
from deocclude.engines.report.tables import Table

NARROWEST = 3  # of a Markdown column: a shorter rule is none to some readers
LATEX = {
    "\\": r"\textbackslash{}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "Δ": r"$\Delta$",
    "∞": r"$\infty$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×": r"$\times$",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def save_tables(
    tables: Sequence[Table], lines: Sequence[str], summary: pd.DataFrame, folder: Path, title: str
) -> dict[str, Path]:
    """`table.md`, `table.tex` and `summary.csv` in `folder`, each whole or not at all; `lines`
    stand above the tables."""
    paths = {name: folder / name for name in ("table.md", "table.tex", "summary.csv")}
    write_text(paths["table.md"], to_markdown(tables, title, lines))
    write_text(paths["table.tex"], to_latex(tables, lines))
    write_text(paths["summary.csv"], summary.to_csv(index=False, float_format="%.7g"))
    return paths


def to_markdown(tables: Sequence[Table], title: str, lines: Sequence[str]) -> str:
    """All tables as one Markdown document."""
    parts = [f"# {title}", "\n".join(f"- {line}" for line in lines)]
    for table in tables:
        grid = [[_pipe(column) for column in table.columns]] + [
            [f"**{_pipe(c.text)}**" if c.best else _pipe(c.text) for c in row] for row in table.rows
        ]
        widths = [max(NARROWEST, *(len(row[i]) for row in grid)) for i in range(len(grid[0]))]
        texts = ["| " + " | ".join(_pad(row, widths)) + " |" for row in grid]
        rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
        texts.insert(1, "| " + " | ".join(rule) + " |")
        parts.append(f"## {table.title}\n\n" + "\n".join(texts))
        parts += table.notes
    return "\n\n".join(parts) + "\n"


def _pad(row: list[str], widths: list[int]) -> list[str]:
    first, *rest = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)]


def _pipe(text: str) -> str:
    return text.replace("|", "\\|")


def to_latex(tables: Sequence[Table], lines: Sequence[str]) -> str:
    """One `table` environment each, with booktabs rules (`\\usepackage{booktabs}`)."""
    parts = ["% needs \\usepackage{booktabs,graphicx}", *(f"% {line}" for line in lines)]
    for table in tables:
        notes = " ".join(escape(note) for note in table.notes)
        rows = [" & ".join(escape(column) for column in table.columns)]
        for row in table.rows:
            texts = [
                rf"\textbf{{{escape(cell.text)}}}" if cell.best else escape(cell.text)
                for cell in row
            ]
            rows.append(" & ".join(texts))
        body = "\n".join(rf"{row} \\" for row in rows[1:])
        parts.append(
            "\\begin{table}[t]\n\\centering\n"
            f"\\caption{{{escape(table.title)}. {escape(lines[0])} {notes}}}\n"
            "\\resizebox{\\linewidth}{!}{%\n"
            f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}\n\\toprule\n"
            f"{rows[0]} \\\\\n\\midrule\n{body}\n\\bottomrule\n"
            "\\end{tabular}}\n\\end{table}"
        )
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands here."""
    return "".join(LATEX.get(letter, letter) for letter in text)
