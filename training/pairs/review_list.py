"""The pages of all pairs of a store and one list of them, to look through before `pairs accept` and `pairs reject`."""

from collections.abc import Callable
from html import escape
from pathlib import Path

from inference.errors import InferenceError
from training.errors import NuclearImageUnusable
from training.insilico.files.whole_folder import write_whole
from training.pairs.review import Verdict, standing, verdicts
from training.pairs.review_page import headline, review_page
from training.store.stored_pair import StoredPair
from training.store.study_store import StudyStore

LIST = "index.html"
_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Pairs to review</title>
<style>body{font:15px sans-serif;max-width:60em;margin:2em auto;color:#1f2933}img{max-width:100%}
h2{font-size:1em;margin-top:3em}code{background:#f0f0f0;padding:.1em .3em}</style>
<h1>Pairs to review</h1>
<p>Do CT and SPECT belong together, and does the SPECT fill the lungs of the CT and end at the line? Then accept the
pair, else reject it. A pair that nobody accepted is not trained on.</p>
"""


def write_review(
    store: StudyStore, out: Path, *, only_open: bool, tell: Callable[[str], None] = lambda name: None
) -> tuple[Path, tuple[str, ...]]:
    """Draw a page for each pair and write the list.

    Args:
        store: holds the pairs.
        out: folder of pages and list; is made.
        only_open: leave out pairs that have a verdict.
        tell: is called with the name of each pair that is begun.

    Returns:
        The list, and the names of pairs that cannot be drawn; they stand in the list with the reason.

    Raises:
        OSError: a file cannot be read or written.
    """
    out.mkdir(parents=True, exist_ok=True)
    parts, failed, decided = [_HEAD], [], verdicts(store)
    for pair in store.pairs():
        verdict = standing(pair, decided)
        if only_open and verdict is not None:
            continue
        tell(pair.name)
        picture = f'<img src="{pair.name}.png" alt="CT, SPECT and both, three cuts">'
        try:
            write_whole(out / f"{pair.name}.png", review_page(pair))
        except (InferenceError, NuclearImageUnusable) as fault:
            failed.append(pair.name)
            picture = f"<p><strong>It cannot be drawn: {escape(f'{fault.code}: {fault}')}</strong></p>"
        parts.append(_entry(pair, verdict, picture))
    write_whole(out / LIST, "".join(parts).encode())
    return out / LIST, tuple(failed)


def _entry(pair: StoredPair, verdict: Verdict | None, picture: str) -> str:
    names, figures = headline(pair)
    word = "nobody has decided yet"
    if verdict is not None:
        word = f"{'accepted' if verdict.is_accepted else 'rejected'} by {verdict.by} on {verdict.at[:10]}"
    return (
        f"<h2>{escape(names)}</h2>\n<p>{escape(figures)}</p>\n<p>{escape(word)}</p>\n"
        f"<p><code>perfnode pairs accept {pair.name} --store STORE --by NAME --reason TEXT</code></p>\n{picture}\n"
    )
