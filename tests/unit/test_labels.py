"""Labels of metrics: whatever a cluster says, they are words of ours and of Slurm's manual."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from benchd.core.lifecycle import IllegalMove, Rules, advance
from benchd.core.model import Job, JobState, Observation
from benchd.core.news import events_of
from benchd.core.slurm import read_state
from benchd.core.slurm_words import STATES
from benchd.metrics import Metrics
from support import builders

NOW = 1_700_000_000.0  # seconds since the epoch; any moment will do
ODD = st.text(min_size=1, max_size=20) | st.sampled_from(["\ud800", "FAILED\nx 1", "a" * 5000, '"'])
WORDS = ODD | st.sampled_from(sorted(STATES)) | st.sampled_from(["CANCELLED by 0", "NODE_FAIL+"])


def ended(job: Job, word: str, reason: str) -> Job:
    """Return the job after a cluster said these words about it, as far as it may move."""
    base, by = read_state(word)
    row = Observation(token=job.token, slurm_id="7", word=base, by=by, reason=reason, exit_code=1)
    for event in events_of(job, row, "7", NOW):
        try:
            job = advance(job, event, NOW, Rules())
        except IllegalMove:
            break
    return job


@settings(max_examples=300, deadline=None)
@given(word=WORDS, reason=ODD, state=st.sampled_from([JobState.PENDING, JobState.RUNNING]))
def test_no_word_of_a_cluster_becomes_a_label(word: str, reason: str, state: JobState) -> None:
    """A word nobody knows moves nothing; what is counted has a cause of the known ones."""
    metrics = Metrics()
    job = builders.service(state=state, slurm_id="7", tries=1, attempted_at=1.0)
    after = ended(job, word, reason)
    if after.state is not job.state:
        metrics.transitions.labels(
            "alpha", str(after.role), str(after.state), after.why or ""
        ).inc()
    families = text_string_to_metric_families(metrics.render().decode())
    whys = {s.labels["why"] for f in families for s in f.samples if "why" in s.labels}
    assert all(why == "" or (why.isascii() and why.replace("_", "").isalnum()) for why in whys)
    assert all(len(why) < 32 for why in whys)
    if read_state(word)[0] not in STATES:
        assert after.state in {job.state, JobState.PENDING, JobState.RUNNING}
