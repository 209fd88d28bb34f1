"""Writes the page of the command `MEDS_transforms` from the command itself: all its commands, arguments and options.

mkdocs-gen-files runs this file when the documentation is built. Typer writes the text; the list of commands, which it
cuts short, is put in again with whole sentences and links.
"""

import re
import subprocess
import sys

COMMAND = "MEDS_transforms"
PAGE = "reference/commands.md"
INTRODUCTION = """\
`MEDS_transforms` leads to all else: it runs pipelines, and checks and shows what is there.
`python -m MEDS_transforms` is the same. Each [stage](../stages/index.md) also has a script of its own. The settings
that `run` takes are those of the [pipeline](configuration.md#keys-of-every-pipeline) and of the
[runner](configuration.md#the-runner)."""


def generated() -> str:
    """What Typer says about the command, in Markdown."""
    docs = [sys.executable, "-m", "typer", f"{COMMAND}.commands.app", "utils", "docs", "--name", COMMAND]
    text = subprocess.run(docs, capture_output=True, text=True, check=True).stdout
    return text.replace("\n$ ", "\n").replace(" <list[str]>", "")


def commands_page(text: str) -> str:
    """The page, from what Typer says."""
    _, head, *sections = re.split(r"^(?=##? `)", text, flags=re.MULTILINE)
    title, _, head = head.partition("\n")
    head = head.partition("**Commands**")[0].strip()
    listed = "\n".join(f"| {linked(section)} | {first_paragraph(section)} |" for section in sections)
    parts = ["# The command line", INTRODUCTION, f"| command | what it does |\n|---|---|\n{listed}", f"#{title}", head]
    return "\n\n".join([*parts, *(section.strip() for section in sections)]) + "\n"


def linked(section: str) -> str:
    """The name of a section's command, as a link to the section."""
    name = section.partition("`")[2].partition("`")[0]
    return f"[`{name}`](#{name.lower().replace(' ', '-')})"


def first_paragraph(section: str) -> str:
    """What a section's command does, in one line."""
    return " ".join(section.partition("\n\n")[2].partition("\n\n")[0].split())


# NOTE: mkdocs-gen-files runs the file under this name; the tests import it.
if __name__ == "<run_path>":
    import mkdocs_gen_files

    with mkdocs_gen_files.open(PAGE, "w") as page:
        page.write(commands_page(generated()))
