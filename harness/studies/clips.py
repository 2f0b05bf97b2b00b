"""What the corpus says of every clip that any trial scored, written beside the trials: ``clips.csv``.

A report reads it in place of the corpus. Columns: ``key``; ``group``, what must be drawn whole when clips are resampled
(the corpus's group, the clip of a segment, or the key itself where nobody knows more); ``relevance_<class>`` where the
corpus says how sure its labels are; and what the study's ``clips`` gives. Rows are sorted by key.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from harness.corpora import Corpus, registry
from harness.corpora.segments import clips_of
from harness.studies import records
from harness.studies.context import Opened, context_of
from harness.studies.study import Study

CLIPS = "clips.csv"


def read_clips(folder: Path) -> pd.DataFrame | None:
    """What is known of the clips that the trials of a folder scored.

    Parameters
    ----------
    folder
        ``<study>/<corpus>-<profile>`` under runs, or the folder of kept records.

    Returns
    -------
    DataFrame or None
        See the module; None where there is no such file.
    """
    path = folder / CLIPS
    return records.read_table(path, {"key": "str", "group": "str"}) if path.exists() else None


def write_clips(study: Study, folder: Path, opened: Opened | None = None, *, anew: bool = True) -> None:
    """Write ``clips.csv`` for all finished trials of a folder, if their corpus is here.

    Parameters
    ----------
    study
        Theirs. Its ``clips(contexts)``, where it has one, gives a data frame with the column ``key``, a ``group`` where
        that of the corpus is not what is to be drawn whole, and columns of the study's own.
    folder
        ``<study>/<corpus>-<profile>``.
    opened
        What this process has opened of the corpora.
    anew
        Whether to write it even where the file that is there has every clip.
    """
    found = records.find_records(folder)
    if not found or not all(is_here(name) for name in {r.data["corpus"] for r in found}):
        return
    keys = np.unique(np.concatenate([p.keys for r in found for p in r.parts().values()]))
    if not anew and (known := read_clips(folder)) is not None and np.isin(keys, known["key"]).all():
        return
    opened = opened or Opened()
    contexts = [context_of(record, study, opened) for record in found]
    corpora = {id(corpus): corpus for context in contexts for corpus in (context.whole, context.corpus)}
    frame = pd.concat([_of_corpus(corpus) for corpus in corpora.values()]).set_index("key")
    if hasattr(study.code, "clips"):
        own = study.code.clips(contexts).set_index("key")
        frame = own.combine_first(frame)[[*frame, *(name for name in own if name not in frame)]]
    frame = frame.reindex(keys)
    frame["group"] = frame["group"].where(frame["group"].notna(), clips_of(keys))
    records.write_table(folder / CLIPS, frame.rename_axis("key").reset_index())


def is_here(name: str) -> bool:
    """Whether a corpus can be read without fetching or rendering it."""
    return not registry.absent(name) and not registry.to_render(name)


def _of_corpus(corpus: Corpus) -> pd.DataFrame:
    frame = corpus.clips[["key", "group"]].astype({"key": str})
    if corpus.relevance is None or len(corpus.relevance) != len(frame):
        return frame
    names = [f"relevance_{name}" for name in corpus.classes]
    return frame.join(pd.DataFrame(np.asarray(corpus.relevance, float), columns=names, index=frame.index))
