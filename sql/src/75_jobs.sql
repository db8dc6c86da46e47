-- Training in the background: the rows travel now, as the caller sees them; the fit goes on
-- after the call, as a job of the server. Its artifact waits there until pgml.collect stores
-- it. What the server need not know of the call waits here, in pgml.jobs.
CREATE TABLE pgml.jobs (
    job text PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES pgml.projects ON DELETE CASCADE,
    snapshot_id bigint NOT NULL REFERENCES pgml.snapshots ON DELETE CASCADE,
    spec jsonb NOT NULL,
    automatic_deploy boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER)::regrole
);
COMMENT ON TABLE pgml.jobs IS 'background trainings that were not collected yet; their states are in pgml.stat_jobs';
COMMENT ON COLUMN pgml.jobs.job IS 'id of the job';
COMMENT ON COLUMN pgml.jobs.project_id IS 'the project that it trains for';
COMMENT ON COLUMN pgml.jobs.snapshot_id IS 'what it trains on';
COMMENT ON COLUMN pgml.jobs.spec IS 'the call';
COMMENT ON COLUMN pgml.jobs.automatic_deploy IS 'whether the model is deployed if it is no worse';
COMMENT ON COLUMN pgml.jobs.created_at IS 'when it was started';
COMMENT ON COLUMN pgml.jobs.owner IS 'who started it, and may collect it';
ALTER TABLE pgml.jobs ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON pgml.jobs
    USING (pg_has_role(owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'));
GRANT SELECT, DELETE, INSERT (job, project_id, snapshot_id, spec, automatic_deploy) ON pgml.jobs TO pgml_trainer;
SELECT pg_catalog.pg_extension_config_dump('pgml.jobs', '');

CREATE FUNCTION pgml.train_background(
    project_name text, task text DEFAULT NULL, relation_name text DEFAULT NULL, y_column_name text DEFAULT NULL,
    algorithm pgml.algorithm DEFAULT 'linear', hyperparams jsonb DEFAULT '{}', search pgml.search DEFAULT NULL,
    search_params jsonb DEFAULT '{}', search_args jsonb DEFAULT '{}', test_size real DEFAULT 0.25,
    test_sampling pgml.sampling DEFAULT 'stratified', runtime pgml.runtime DEFAULT NULL,
    automatic_deploy boolean DEFAULT true, materialize_snapshot boolean DEFAULT false, preprocess jsonb DEFAULT '{}'
) RETURNS text
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE COST 1000000
    SET synchronize_seqscans = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    plan pg_catalog.record := pgml.prepare_training(train_background.project_name, train_background.task, train_background.relation_name,
        CASE WHEN train_background.y_column_name IS NOT NULL THEN ARRAY[train_background.y_column_name] END,
        train_background.algorithm, train_background.hyperparams, train_background.search, train_background.search_params,
        train_background.search_args, train_background.test_size, train_background.test_sampling, train_background.runtime,
        train_background.materialize_snapshot, train_background.preprocess, true);
    project pgml.projects := plan.project;
    snapshot pgml.snapshots := plan.snapshot;
    rows_query pg_catalog.text := plan.query;
    call pg_catalog.jsonb := plan.spec;
    new_job pg_catalog.text;
BEGIN
    SELECT t.result OPERATOR(pg_catalog.->>) 'job' INTO new_job FROM pgml.training AS t
    WHERE t.query OPERATOR(pg_catalog.=) rows_query AND t.spec OPERATOR(pg_catalog.=) call;
    INSERT INTO pgml.jobs (job, project_id, snapshot_id, spec, automatic_deploy)
    VALUES (new_job, project.id, snapshot.id, call, coalesce(train_background.automatic_deploy, true));
    IF pgml.in_transaction_block() THEN
        RAISE NOTICE 'job % can be collected only if this transaction commits', new_job;
    END IF;
    RETURN new_job;
END
$$;
COMMENT ON FUNCTION pgml.train_background(text, text, text, text, pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb) IS
    'pgml.train that returns when the rows have travelled, with the id of a job: see pgml.stat_jobs and pgml.collect';

CREATE FUNCTION pgml.collect(job text)
    RETURNS TABLE (project text, task text, algorithm text, deployed boolean)
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000 ROWS 1
AS $$
DECLARE
    this_job pg_catalog.text := collect.job;
    started pgml.jobs;
    of_project pgml.projects;
    model pgml.models;
    parts CURSOR FOR SELECT r.part, r.data, r.result FROM pgml.job_result AS r WHERE r.job OPERATOR(pg_catalog.=) this_job;
BEGIN
    DELETE FROM pgml.jobs AS j WHERE j.job OPERATOR(pg_catalog.=) this_job RETURNING j.* INTO started;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no job "%" to collect', this_job
            USING ERRCODE = 'undefined_object', DETAIL = 'it was collected, its transaction was rolled back, or it is another role''s',
                  HINT = 'what there is: SELECT job FROM pgml.jobs';
    END IF;
    SELECT p.* INTO of_project FROM pgml.projects AS p WHERE p.id OPERATOR(pg_catalog.=) started.project_id;
    OPEN parts;
    model := pgml.store_model(parts, started.project_id, started.snapshot_id, started.spec);
    CLOSE parts;
    project := of_project.name;
    task := pg_catalog.replace(of_project.task::pg_catalog.text, '_', '-');
    algorithm := model.algorithm;
    deployed := pgml.deploy_if_better(of_project, model, started.automatic_deploy);
    PERFORM pgml.say_not_committed(model.id);
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION pgml.collect(text) IS
    'stores what a background training made, in this transaction, and deploys it as pgml.train does';

CREATE FUNCTION pgml.cancel_job(job text) RETURNS TABLE (state text, detail text)
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE COST 100000 ROWS 1
AS $$
DECLARE
    this_job pg_catalog.text := cancel_job.job;
    wanted pg_catalog.text := 'cancel';
BEGIN
    RETURN QUERY SELECT c.state, c.detail FROM pgml.job_control AS c
    WHERE c.job OPERATOR(pg_catalog.=) this_job AND c.action OPERATOR(pg_catalog.=) wanted;
    DELETE FROM pgml.jobs AS j WHERE j.job OPERATOR(pg_catalog.=) this_job;
END
$$;
COMMENT ON FUNCTION pgml.cancel_job(text) IS 'ends a background training; what it made is gone';

GRANT EXECUTE ON FUNCTION pgml.train_background(text, text, text, text, pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb),
    pgml.collect(text), pgml.cancel_job(text) TO pgml_trainer;
