-- Training, in the caller's transaction and rights: what PostgresML's train does, but for the
-- fit itself, which happens in a process of the server. The rows that the caller may see are
-- pushed to it; what comes back is a signed artifact, kept in pgml.files part by part.
--
-- plpgsql refuses an output column with the name of an argument, as PostgresML's functions
-- have them: so the functions of its names are doors in SQL, at the end of this file.

CREATE FUNCTION pgml.training_task(task text) RETURNS pgml.task
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted text := replace(lower(training_task.task), '-', '_');
BEGIN
    wanted := CASE wanted WHEN 'cluster' THEN 'clustering' WHEN 'anomaly_detection' THEN 'anomaly' ELSE wanted END;
    IF wanted IN ('regression', 'classification', 'clustering', 'decomposition', 'anomaly', 'forecasting') THEN
        RETURN wanted::pgml.task;
    ELSIF wanted = ANY (enum_range(NULL::pgml.task)::text[]) THEN
        RAISE EXCEPTION 'task % is not for tables of numbers: use pgml.tune for transformers tasks', training_task.task
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'pgml.train knows: regression, classification, clustering, decomposition, anomaly, forecasting';
    ELSIF wanted IS NOT NULL THEN
        RAISE EXCEPTION 'there is no task "%"', training_task.task
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'one of: regression, classification, clustering, decomposition, anomaly, forecasting';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgml.training_task(text) IS 'the task of that name, if pgml.train can train for it';

-- The project's row is written before the fit: a second role that wants the name waits here,
-- and does not find out after a long fit that it is taken.
CREATE FUNCTION pgml.project_to_train(project_name text, task text) RETURNS pgml.projects
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    project pgml.projects;
    wanted pgml.task := pgml.training_task(project_to_train.task);
BEGIN
    IF project_to_train.project_name IS NULL THEN
        RAISE EXCEPTION 'a project needs a name, not NULL' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'pgml.train(''name of the project'', …)';
    ELSIF project_to_train.project_name = '' THEN
        RAISE EXCEPTION 'the name of the project is empty' USING ERRCODE = 'invalid_parameter_value',
            HINT = 'pgml.train(''name of the project'', …)';
    END IF;
    IF NOT EXISTS (SELECT FROM pgml.projects AS p WHERE p.name = project_to_train.project_name) THEN
        IF wanted IS NULL THEN
            RAISE EXCEPTION 'Project `%` does not exist. To create a new project, you must specify a `task`.',
                project_to_train.project_name USING ERRCODE = 'undefined_object',
                HINT = 'task => one of: regression, classification, clustering, decomposition, anomaly, forecasting';
        END IF;
        INSERT INTO pgml.projects (name, task) VALUES (project_to_train.project_name, wanted) ON CONFLICT (name) DO NOTHING;
        IF NOT EXISTS (SELECT FROM pgml.projects AS p WHERE p.name = project_to_train.project_name) THEN
            RAISE EXCEPTION 'project `%` belongs to another role', project_to_train.project_name
                USING ERRCODE = 'insufficient_privilege', HINT = 'choose another name';
        END IF;
    END IF;
    project := pgml.own_project(project_to_train.project_name);
    IF project.task IS DISTINCT FROM coalesce(wanted, project.task) THEN
        RAISE EXCEPTION 'Project `%` already exists with a different task: `%`. Create a new project instead.',
            project.name, project.task USING ERRCODE = 'invalid_parameter_value', HINT = 'leave the task out, or choose another name';
    END IF;
    PERFORM pgml.training_task(project.task::text);
    RETURN project;
END
$$;
COMMENT ON FUNCTION pgml.project_to_train(text, text) IS
    'the project of that name, made if there is none; raises what PostgresML says';

CREATE FUNCTION pgml.snapshot_to_train(
    project pgml.projects, relation_name text, labels text[], test_size real, test_sampling pgml.sampling,
    materialize boolean, preprocess jsonb
) RETURNS pgml.snapshots
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    chosen pgml.snapshots;
BEGIN
    IF snapshot_to_train.relation_name IS NOT NULL THEN
        IF snapshot_to_train.labels IS NULL
           AND (snapshot_to_train.project).task::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['regression', 'classification', 'forecasting']) THEN
            RAISE EXCEPTION 'You must pass a `y_column_name` when you pass a `relation_name` for a supervised task.'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'y_column_name => the column to predict';
        END IF;
        RETURN pgml.take_snapshot(snapshot_to_train.relation_name, snapshot_to_train.labels,
            coalesce(snapshot_to_train.test_size, 0.25), coalesce(snapshot_to_train.test_sampling, 'stratified'),
            coalesce(snapshot_to_train.materialize, false), snapshot_to_train.preprocess);
    END IF;
    SELECT s.* INTO chosen FROM pgml.snapshots AS s
    WHERE s.id OPERATOR(pg_catalog.=) ANY (
        SELECT m.snapshot_id FROM pgml.models AS m WHERE m.project_id OPERATOR(pg_catalog.=) (snapshot_to_train.project).id)
    ORDER BY s.id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'You must pass a `relation_name` and `y_column_name` to snapshot the first time you train a model.'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'pgml.train(''project'', ''task'', ''schema.table'', ''column to predict'')';
    END IF;
    RAISE INFO 'Using existing snapshot from %', chosen.relation_name;
    IF snapshot_to_train.preprocess OPERATOR(pg_catalog.<>) '{}' THEN
        RAISE WARNING 'preprocess is not used: snapshot % keeps the one that it was made with', chosen.id
            USING HINT = 'give relation_name and y_column_name too, for a new snapshot';
    END IF;
    RETURN chosen;
END
$$;
COMMENT ON FUNCTION pgml.snapshot_to_train(pgml.projects, text, text[], real, pgml.sampling, boolean, jsonb) IS
    'a new snapshot of the relation, or without one the last snapshot of the project';

-- Everything that comes before the fit: the rows of project and snapshot, the query, the
-- specification that the server reads. Errors of the caller are found here where Postgres
-- knows; the server says the rest, before the first row travels.
CREATE FUNCTION pgml.prepare_training(
    project_name text, task text, relation_name text, labels text[], algorithm pgml.algorithm, hyperparams jsonb,
    search pgml.search, search_params jsonb, search_args jsonb, test_size real, test_sampling pgml.sampling,
    runtime pgml.runtime, materialize boolean, preprocess jsonb, background boolean,
    OUT project pgml.projects, OUT snapshot pgml.snapshots, OUT query text, OUT spec jsonb
) RETURNS record
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    source pg_catalog.regclass;
BEGIN
    IF pg_catalog.to_regclass('pgml.training') IS NULL THEN
        RAISE EXCEPTION 'this host of the foreign data wrapper cannot train' USING ERRCODE = 'feature_not_supported',
            HINT = 'install the native host: pgannex install --host native';
    END IF;
    IF prepare_training.runtime OPERATOR(pg_catalog.=) 'openai'::pgml.runtime THEN
        RAISE EXCEPTION 'OpenAI runtime is not supported for training or inference'
            USING ERRCODE = 'feature_not_supported', HINT = 'leave runtime out';
    END IF;
    IF pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool THEN
        RAISE EXCEPTION 'cannot train in a read-only transaction' USING ERRCODE = 'read_only_sql_transaction',
            HINT = CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'this is a standby: train on its primary, predict on both'
                        ELSE 'BEGIN READ WRITE, or see default_transaction_read_only' END;
    END IF;
    project := pgml.project_to_train(prepare_training.project_name, prepare_training.task);
    snapshot := pgml.snapshot_to_train(project, prepare_training.relation_name, prepare_training.labels,
        prepare_training.test_size, prepare_training.test_sampling, prepare_training.materialize, prepare_training.preprocess);
    source := pgml.find_relation(CASE WHEN snapshot.materialized
        THEN pg_catalog.format('pgml.snapshot_%s', snapshot.id) ELSE snapshot.relation_name END);
    SELECT q.query, pg_catalog.jsonb_build_object(
        'project', project.name, 'task', project.task, 'algorithm', coalesce(prepare_training.algorithm, 'linear'),
        'runtime', prepare_training.runtime, 'hyperparams', coalesce(prepare_training.hyperparams, '{}'),
        'search', prepare_training.search, 'search_params', coalesce(prepare_training.search_params, '{}'),
        'search_args', coalesce(prepare_training.search_args, '{}'), 'test_size', snapshot.test_size,
        'test_sampling', snapshot.test_sampling, 'joint', coalesce(pg_catalog.cardinality(snapshot.y_column_name), 0) OPERATOR(pg_catalog.>) 1,
        'columns', q.columns, 'background', prepare_training.background, 'seed', NULL,
        'preprocess', (SELECT coalesce(pg_catalog.jsonb_object_agg(c.value OPERATOR(pg_catalog.->>) 'name',
                                                                   c.value OPERATOR(pg_catalog.->) 'preprocessor'), '{}')
                       FROM pg_catalog.jsonb_array_elements(snapshot.columns) AS c
                       WHERE c.value OPERATOR(pg_catalog.?) 'preprocessor'))
    INTO query, spec
    FROM pgml.training_query(source, snapshot.y_column_name) AS q;
END
$$;
COMMENT ON FUNCTION pgml.prepare_training(text, text, text, text[], pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, jsonb, boolean) IS
    'what pgml.train does before the fit: project, snapshot, query and specification';

-- A row at a time from the cursor: a FOR loop would fetch fifty parts of 16 MiB at once.
CREATE FUNCTION pgml.store_model(parts refcursor, project_id bigint, snapshot_id bigint, spec jsonb) RETURNS pgml.models
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    piece record;
    model pgml.models;
    result jsonb;
BEGIN
    LOOP
        FETCH parts INTO piece;
        EXIT WHEN NOT FOUND;
        IF result IS NULL THEN
            result := piece.result;
            INSERT INTO pgml.models (project_id, snapshot_id, num_features, algorithm, runtime, hyperparams, status, metrics,
                search, search_params, search_args, artifact, rows, rows_sha256, seed, versions, reason)
            VALUES (store_model.project_id, store_model.snapshot_id, (result ->> 'num_features')::integer,
                coalesce(result ->> 'algorithm', spec ->> 'algorithm'),
                coalesce(result ->> 'runtime', spec ->> 'runtime', 'python')::pgml.runtime,
                coalesce(result -> 'hyperparams', spec -> 'hyperparams'), 'successful', result -> 'metrics',
                spec ->> 'search', spec -> 'search_params', spec -> 'search_args', result ->> 'hash',
                (result ->> 'rows')::bigint, result ->> 'rows_sha256', (result ->> 'seed')::bigint, result -> 'versions',
                CASE WHEN NOT (result ->> 'deployable')::boolean THEN coalesce(result ->> 'reason', 'the server advises against it') END)
            RETURNING * INTO model;
            UPDATE pgml.snapshots AS s
            SET columns = coalesce(result -> 'columns', s.columns),
                analysis = coalesce(result -> 'analysis', jsonb_build_object('samples', result -> 'rows'))
            WHERE s.id = store_model.snapshot_id;
        END IF;
        INSERT INTO pgml.files (model_id, path, part, data) VALUES (model.id, 'model.annex', piece.part, piece.data);
    END LOOP;
    IF model.id IS NULL THEN
        RAISE EXCEPTION 'the server sent no model' USING ERRCODE = 'protocol_violation', HINT = 'see the log of the server';
    END IF;
    RETURN model;
END
$$;
COMMENT ON FUNCTION pgml.store_model(refcursor, bigint, bigint, jsonb) IS
    'writes a trained model and its artifact, part by part, from a cursor over pgml.training or pgml.job_result';

CREATE FUNCTION pgml.say_not_committed(model_id bigint) RETURNS void
    LANGUAGE plpgsql STABLE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pgml.in_transaction_block() THEN
        RAISE NOTICE 'model % is not committed yet', say_not_committed.model_id
            USING HINT = 'others see it after COMMIT; ROLLBACK leaves nothing of it';
    END IF;
END
$$;
COMMENT ON FUNCTION pgml.say_not_committed(bigint) IS 'a notice inside a transaction block, where it matters to COMMIT';

-- Rows in the same order each time, so no parallel workers and no scan that begins where
-- another one is: the same rows and seed then give the same model.
CREATE FUNCTION pgml.train_model(
    project_name text, task text, relation_name text, labels text[], algorithm pgml.algorithm, hyperparams jsonb,
    search pgml.search, search_params jsonb, search_args jsonb, test_size real, test_sampling pgml.sampling,
    runtime pgml.runtime, automatic_deploy boolean, materialize boolean, preprocess jsonb,
    OUT of_project text, OUT for_task text, OUT by_algorithm text, OUT is_deployed boolean
) RETURNS record
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET synchronize_seqscans = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
    plan pg_catalog.record := pgml.prepare_training(train_model.project_name, train_model.task, train_model.relation_name,
        train_model.labels, train_model.algorithm, train_model.hyperparams, train_model.search, train_model.search_params,
        train_model.search_args, train_model.test_size, train_model.test_sampling, train_model.runtime,
        train_model.materialize, train_model.preprocess, false);
    project pgml.projects := plan.project;
    snapshot pgml.snapshots := plan.snapshot;
    rows_query pg_catalog.text := plan.query;
    call pg_catalog.jsonb := plan.spec;
    parts CURSOR FOR SELECT t.part, t.data, t.result FROM pgml.training AS t
        WHERE t.query OPERATOR(pg_catalog.=) rows_query AND t.spec OPERATOR(pg_catalog.=) call;
    model pgml.models;
BEGIN
    OPEN parts;
    model := pgml.store_model(parts, project.id, snapshot.id, call);
    CLOSE parts;
    of_project := project.name;
    for_task := pg_catalog.replace(project.task::pg_catalog.text, '_', '-');
    by_algorithm := model.algorithm;
    is_deployed := pgml.deploy_if_better(project, model, train_model.automatic_deploy);
    PERFORM pgml.say_not_committed(model.id);
END
$$;
COMMENT ON FUNCTION pgml.train_model(text, text, text, text[], pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb) IS
    'what pgml.train and pgml.train_joint do';

CREATE FUNCTION pgml.train(
    project_name text, task text DEFAULT NULL, relation_name text DEFAULT NULL, y_column_name text DEFAULT NULL,
    algorithm pgml.algorithm DEFAULT 'linear', hyperparams jsonb DEFAULT '{}', search pgml.search DEFAULT NULL,
    search_params jsonb DEFAULT '{}', search_args jsonb DEFAULT '{}', test_size real DEFAULT 0.25,
    test_sampling pgml.sampling DEFAULT 'stratified', runtime pgml.runtime DEFAULT NULL,
    automatic_deploy boolean DEFAULT true, materialize_snapshot boolean DEFAULT false, preprocess jsonb DEFAULT '{}'
) RETURNS TABLE (project text, task text, algorithm text, deployed boolean)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 1
BEGIN ATOMIC
    SELECT t.of_project, t.for_task, t.by_algorithm, t.is_deployed
    FROM pgml.train_model(train.project_name, train.task, train.relation_name,
        CASE WHEN train.y_column_name IS NOT NULL THEN ARRAY[train.y_column_name] END, train.algorithm, train.hyperparams,
        train.search, train.search_params, train.search_args, train.test_size, train.test_sampling, train.runtime,
        train.automatic_deploy, train.materialize_snapshot, train.preprocess) AS t;
END;
COMMENT ON FUNCTION pgml.train(text, text, text, text, pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb) IS
    'trains a model on the rows of a relation, stores it as a version of the project, and deploys it if it is no worse';

CREATE FUNCTION pgml.train_joint(
    project_name text, task text DEFAULT NULL, relation_name text DEFAULT NULL, y_column_name text[] DEFAULT NULL,
    algorithm pgml.algorithm DEFAULT 'linear', hyperparams jsonb DEFAULT '{}', search pgml.search DEFAULT NULL,
    search_params jsonb DEFAULT '{}', search_args jsonb DEFAULT '{}', test_size real DEFAULT 0.25,
    test_sampling pgml.sampling DEFAULT 'stratified', runtime pgml.runtime DEFAULT NULL,
    automatic_deploy boolean DEFAULT true, materialize_snapshot boolean DEFAULT false, preprocess jsonb DEFAULT '{}'
) RETURNS TABLE (project text, task text, algorithm text, deployed boolean)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 1
BEGIN ATOMIC
    SELECT t.of_project, t.for_task, t.by_algorithm, t.is_deployed
    FROM pgml.train_model(train_joint.project_name, train_joint.task, train_joint.relation_name, train_joint.y_column_name,
        train_joint.algorithm, train_joint.hyperparams, train_joint.search, train_joint.search_params, train_joint.search_args,
        train_joint.test_size, train_joint.test_sampling, train_joint.runtime, train_joint.automatic_deploy,
        train_joint.materialize_snapshot, train_joint.preprocess) AS t;
END;
COMMENT ON FUNCTION pgml.train_joint(text, text, text, text[], pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb) IS
    'pgml.train for several columns to be predicted together';

GRANT EXECUTE ON FUNCTION pgml.training_task(text), pgml.project_to_train(text, text),
    pgml.snapshot_to_train(pgml.projects, text, text[], real, pgml.sampling, boolean, jsonb),
    pgml.prepare_training(text, text, text, text[], pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, jsonb, boolean),
    pgml.store_model(refcursor, bigint, bigint, jsonb), pgml.say_not_committed(bigint),
    pgml.train_model(text, text, text, text[], pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb),
    pgml.train(text, text, text, text, pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb),
    pgml.train_joint(text, text, text, text[], pgml.algorithm, jsonb, pgml.search, jsonb, jsonb, real, pgml.sampling, pgml.runtime, boolean, boolean, jsonb)
    TO pgml_trainer;
