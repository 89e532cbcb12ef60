"""Tables as Markdown and LaTeX."""

from collections.abc import Sequence

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
        parts.append(f"## {table.heading}\n\n" + "\n".join(texts))
        parts += table.notes
    return "\n\n".join(parts) + "\n"


def _pad(row: list[str], widths: list[int]) -> list[str]:
    texts = [text.rjust(width) for text, width in zip(row, widths, strict=True)]
    return [row[0].ljust(widths[0]), *texts[1:]]


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
            f"\\caption{{{escape(table.heading)}. {escape(lines[0])} {notes}}}\n"
            "\\resizebox{\\linewidth}{!}{%\n"
            f"\\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}\n\\toprule\n"
            f"{rows[0]} \\\\\n\\midrule\n{body}\n\\bottomrule\n"
            "\\end{tabular}}\n\\end{table}"
        )
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands here."""
    return "".join(LATEX.get(letter, letter) for letter in text)
