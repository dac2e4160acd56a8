"""Longer statements of `board.py`, and parts of them."""

AHEAD_SECONDS = 5.0
"""A sign of life from further ahead is none: the database's clock was put back, or somebody made it up."""
AHEAD = f"> clock_timestamp() + make_interval(secs => {AHEAD_SECONDS})"
RECENT = f"""BETWEEN clock_timestamp() - make_interval(secs => %s)
    AND clock_timestamp() + make_interval(secs => {AHEAD_SECONDS})"""
"""A sign of life of somebody who lives. Its parameter: after how many seconds of silence nobody does."""
LIVES = f"living.asker = asked.asker AND living.beat {RECENT}"
IS_ORPHAN = f"""digest = %s AND queue = %s AND NOT EXISTS (
    SELECT 1 FROM didyma_askers living WHERE {LIVES}
    AND (living.session IS NULL OR living.session IN (SELECT pid FROM pg_stat_activity))
)"""
ASK = f"""
WITH ours AS (INSERT INTO didyma_asked (job, asker, queue, digest) VALUES (%s, %s, %s, %s)),
orphan AS (SELECT EXISTS (SELECT 1 FROM didyma_asked asked WHERE {IS_ORPHAN}) AS is_there)
SELECT is_there, (SELECT count(pg_notify(name, '')) FROM unnest(%s::text[]) AS name WHERE NOT is_there) FROM orphan
"""
ADOPT = f"""
UPDATE didyma_asked SET asker = %s WHERE job = (
    SELECT job FROM didyma_asked asked WHERE {IS_ORPHAN}
    AND (
        EXISTS (SELECT 1 FROM didyma_work work WHERE work.job = asked.job AND work.reply IS NOT NULL)
        OR EXISTS (SELECT 1 FROM procrastinate_jobs job WHERE job.id = asked.job AND job.status IN ('todo', 'doing'))
    )
    ORDER BY job LIMIT 1 FOR UPDATE SKIP LOCKED
) RETURNING job
"""

IN_WORK = f"""procrastinate_jobs job LEFT JOIN didyma_work work ON work.job = job.id
CROSS JOIN LATERAL (SELECT coalesce(
    work.beat, (SELECT max(at) FROM procrastinate_events WHERE job_id = job.id AND type = 'started'), '-infinity'
) AS beat) said
WHERE job.status = 'doing' AND job.task_name = %s
AND said.beat NOT {RECENT}"""
"""By a worker that has given no sign of life."""
