-- Training and its jobs, as the server has them. pgml.training pushes the rows of a query to
-- a process that fits and returns the signed artifact in parts; in the background it returns a
-- job, whose artifact pgml.job_result gives to the role that started it. Nothing here writes
-- to the database: pgml.train and pgml.collect do.
CREATE FOREIGN TABLE pgml.training (
    query text OPTIONS (input 'required', batch 'false'),
    spec jsonb OPTIONS (input 'required', batch 'false'),
    part integer,
    data bytea,
    result jsonb
) SERVER pgannex OPTIONS (verb 'train', authorize 'pgml.authorize', push 'query', lane 'bulk');
COMMENT ON FOREIGN TABLE pgml.training IS
    'fits a model to the rows of query: one row per part of the artifact; read by pgml.train';
COMMENT ON COLUMN pgml.training.query IS 'a SELECT, whose columns spec describes (required)';
COMMENT ON COLUMN pgml.training.spec IS 'what to fit, and the columns of query (required)';
COMMENT ON COLUMN pgml.training.part IS 'number of the part, from 0; NULL for a job';
COMMENT ON COLUMN pgml.training.data IS 'the part''s bytes, at most 16 MiB; NULL for a job';
COMMENT ON COLUMN pgml.training.result IS
    'in the first row: metrics, columns, hash and number of parts, or {"job": id} in the background';
GRANT SELECT ON pgml.training TO pgml_trainer;

CREATE FOREIGN TABLE pgml.job_result (
    job text OPTIONS (input 'required', batch 'false'),
    part integer,
    data bytea,
    result jsonb
) SERVER pgannex OPTIONS (verb 'job_result', authorize 'pgml.authorize', lane 'bulk');
COMMENT ON FOREIGN TABLE pgml.job_result IS
    'the artifact of a background training, as pgml.training would have given it; read by pgml.collect';
COMMENT ON COLUMN pgml.job_result.job IS 'a job of the own role, started from this database (required)';
COMMENT ON COLUMN pgml.job_result.part IS 'number of the part, from 0';
COMMENT ON COLUMN pgml.job_result.data IS 'the part''s bytes, at most 16 MiB';
COMMENT ON COLUMN pgml.job_result.result IS 'in the first row: metrics, columns, hash and number of parts';
GRANT SELECT ON pgml.job_result TO pgml_trainer;

CREATE FOREIGN TABLE pgml.stat_jobs (
    job text,
    role text,
    database text,
    project text,
    algorithm text,
    state text,
    progress real,
    message text,
    rows bigint,
    log text,
    error text,
    submitted_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz
) SERVER pgannex OPTIONS (verb 'stat_jobs', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.stat_jobs IS
    'one row per background training: those of the own role, or all for pgml_admin and pg_read_all_stats';
COMMENT ON COLUMN pgml.stat_jobs.job IS 'its id, for pgml.collect';
COMMENT ON COLUMN pgml.stat_jobs.role IS 'who started it, and may collect it';
COMMENT ON COLUMN pgml.stat_jobs.database IS 'from which database';
COMMENT ON COLUMN pgml.stat_jobs.project IS 'the project that it trains for';
COMMENT ON COLUMN pgml.stat_jobs.algorithm IS 'what it fits';
COMMENT ON COLUMN pgml.stat_jobs.state IS
    'waiting, running, done, failed, cancelled, collected, or lost: the server restarted meanwhile';
COMMENT ON COLUMN pgml.stat_jobs.progress IS 'how much of it is done, from 0 to 1; NULL where nobody knows';
COMMENT ON COLUMN pgml.stat_jobs.message IS 'what it does, or the last that it said';
COMMENT ON COLUMN pgml.stat_jobs.rows IS 'rows that it was given';
COMMENT ON COLUMN pgml.stat_jobs.log IS 'the last lines that it said';
COMMENT ON COLUMN pgml.stat_jobs.error IS 'why it has no result';
COMMENT ON COLUMN pgml.stat_jobs.submitted_at IS 'when it was asked for';
COMMENT ON COLUMN pgml.stat_jobs.started_at IS 'when its turn came';
COMMENT ON COLUMN pgml.stat_jobs.ended_at IS 'when it ended';
GRANT SELECT ON pgml.stat_jobs TO pgml_trainer, pg_monitor;

CREATE FOREIGN TABLE pgml.job_control (
    job text OPTIONS (input 'required', batch 'false'),
    action text OPTIONS (input 'required', batch 'false'),
    state text,
    detail text
) SERVER pgannex OPTIONS (verb 'job_control', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.job_control IS
    'ends or forgets a background training of the own role; any, for pgml_admin';
COMMENT ON COLUMN pgml.job_control.job IS 'id of the job (required)';
COMMENT ON COLUMN pgml.job_control.action IS 'cancel or forget (required)';
COMMENT ON COLUMN pgml.job_control.state IS 'state of the job after the action';
COMMENT ON COLUMN pgml.job_control.detail IS 'what was done';
GRANT SELECT ON pgml.job_control TO pgml_trainer;
