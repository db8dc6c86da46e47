-- Which model of a project predicts: by hand, by a strategy, or after a training if it is no
-- worse than the one that does. A deployment is a row; the latest one of a project counts.

CREATE FUNCTION pgml.target_metric(task pgml.task, OUT metric text, OUT higher_is_better boolean) RETURNS record
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE target_metric.task
            WHEN 'regression'::pgml.task THEN 'r2'
            WHEN 'classification'::pgml.task THEN 'f1'
            WHEN 'decomposition'::pgml.task THEN 'cumulative_explained_variance'
            WHEN 'clustering'::pgml.task THEN 'silhouette'
            WHEN 'question_answering'::pgml.task THEN 'f1'
            WHEN 'translation'::pgml.task THEN 'blue'
            WHEN 'summarization'::pgml.task THEN 'rouge_ngram_f1'
            WHEN 'text_classification'::pgml.task THEN 'f1'
            WHEN 'text_pair_classification'::pgml.task THEN 'f1'
            WHEN 'text-pair-classification'::pgml.task THEN 'f1'
            WHEN 'conversation'::pgml.task THEN 'bleu'
            WHEN 'text_generation'::pgml.task THEN 'perplexity'
            WHEN 'text2text'::pgml.task THEN 'perplexity'
            WHEN 'forecasting'::pgml.task THEN 'mean_absolute_scaled_error'
            WHEN 'anomaly'::pgml.task THEN 'average_precision'
        END,
        target_metric.task NOT IN ('text_generation'::pgml.task, 'text2text'::pgml.task, 'forecasting'::pgml.task);
END;
COMMENT ON FUNCTION pgml.target_metric(pgml.task) IS
    'the metric by which versions of a model are compared, and whether more of it is better; NULL where there is none';

-- NaN is no score. Lower-is-better metrics are negated, so that more is better here.
CREATE FUNCTION pgml.score_of(task pgml.task, metrics jsonb) RETURNS double precision
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT nullif((score_of.metrics ->> t.metric)::double precision, 'NaN'::double precision)
        * CASE WHEN t.higher_is_better THEN 1 ELSE -1 END
    FROM pgml.target_metric(score_of.task) AS t;
END;
COMMENT ON FUNCTION pgml.score_of(pgml.task, jsonb) IS
    'the target metric as a number of which more is better; NULL where there is none';

CREATE FUNCTION pgml.deploy_if_better(project pgml.projects, model pgml.models, automatic_deploy boolean) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target record := pgml.target_metric((deploy_if_better.project).task);
    current_model pgml.models;
    new_score double precision := pgml.score_of((deploy_if_better.project).task, (deploy_if_better.model).metrics);
    current_score double precision;
    better boolean := true;
BEGIN
    SELECT m.* INTO current_model FROM pgml.projects AS p JOIN pgml.models AS m ON m.id = p.serving_model
    WHERE p.id = (deploy_if_better.project).id AND m.status = 'successful';
    current_score := pgml.score_of((deploy_if_better.project).task, current_model.metrics);
    IF NOT deploy_if_better.automatic_deploy THEN
        RAISE WARNING 'Automatic deployment disabled via configuration.';
        better := false;
    ELSIF (deploy_if_better.model).reason IS NOT NULL THEN
        RAISE WARNING 'model % is not good enough to be deployed automatically: %',
            (deploy_if_better.model).id, (deploy_if_better.model).reason
            USING HINT = format('to deploy it nevertheless: SELECT * FROM pgml.deploy(%s)', (deploy_if_better.model).id);
        better := false;
    ELSIF current_model.id IS NOT NULL AND target.metric IS NOT NULL THEN
        RAISE INFO 'Comparing to deployed model %: %', target.metric, coalesce(current_model.metrics ->> target.metric, 'none');
        IF new_score IS NULL AND current_score IS NULL THEN
            -- Anomalies are measured only where it is known of some rows that they are.
            IF (deploy_if_better.project).task <> 'anomaly' THEN
                RAISE WARNING 'Neither the new model nor the deployed one has metric %.', target.metric;
            END IF;
        ELSIF current_score IS NOT NULL AND (new_score IS NULL OR current_score > new_score) THEN
            RAISE WARNING 'New model''s % is not better than current model. New: %, Current %', target.metric,
                (deploy_if_better.model).metrics ->> target.metric, current_model.metrics ->> target.metric;
            better := false;
        END IF;
    END IF;
    IF NOT better THEN
        RAISE WARNING 'Not deploying newly trained model.';
        RETURN false;
    END IF;
    PERFORM pgml.deploy_as((deploy_if_better.project).id, (deploy_if_better.model).id, 'new_score');
    RETURN true;
END
$$;
COMMENT ON FUNCTION pgml.deploy_if_better(pgml.projects, pgml.models, boolean) IS
    'deploys a model that was just trained, unless the deployed one is strictly better or something is wrong with it';

CREATE FUNCTION pgml.deploy_as(project_id bigint, model_id bigint, strategy pgml.strategy) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE INFO 'Deploying model id: %', deploy_as.model_id;
    INSERT INTO pgml.deployments (project_id, model_id, strategy)
    VALUES (deploy_as.project_id, deploy_as.model_id, deploy_as.strategy);
END
$$;
COMMENT ON FUNCTION pgml.deploy_as(bigint, bigint, pgml.strategy) IS 'writes a deployment';

CREATE FUNCTION pgml.deploy_model(
    model_id bigint, OUT of_project text, OUT by_strategy text, OUT with_algorithm text
) RETURNS record
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    project bigint;
BEGIN
    SELECT p.id, p.name, m.algorithm INTO project, of_project, with_algorithm
    FROM pgml.models AS m JOIN pgml.projects AS p ON p.id = m.project_id
    WHERE m.id = deploy_model.model_id AND m.status = 'successful';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'pgml.models WHERE id = % could not be loaded. Does it exist?', deploy_model.model_id
            USING ERRCODE = 'undefined_object', HINT = 'SELECT id, name FROM pgml.trained_models';
    END IF;
    PERFORM pgml.own_project(of_project);
    by_strategy := 'specific';
    PERFORM pgml.deploy_as(project, deploy_model.model_id, 'specific');
END
$$;
COMMENT ON FUNCTION pgml.deploy_model(bigint) IS 'what pgml.deploy of one model does';

CREATE FUNCTION pgml.deploy_project(
    project_name text, strategy pgml.strategy, algorithm pgml.algorithm,
    OUT of_project text, OUT by_strategy text, OUT with_algorithm text
) RETURNS record
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    project pgml.projects := pgml.own_project(deploy_project.project_name);
    wanted text := coalesce(deploy_project.strategy, 'best_score');
    model bigint;
BEGIN
    IF project.id IS NULL THEN
        RAISE EXCEPTION 'a project needs a name, not NULL' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'pgml.deploy(''name of the project'')';
    ELSIF wanted IN ('new_score', 'specific') THEN
        RAISE EXCEPTION 'invalid strategy: %', wanted USING ERRCODE = 'invalid_parameter_value',
            HINT = 'one of: best_score, most_recent, rollback; one model: pgml.deploy(model_id)';
    END IF;
    SELECT m.id, m.algorithm INTO model, with_algorithm
    FROM pgml.models AS m LEFT JOIN LATERAL (
        SELECT d.created_at, d.id FROM pgml.deployments AS d WHERE d.model_id = m.id AND d.project_id = project.id
        ORDER BY d.created_at DESC, d.id DESC LIMIT 1) AS deployed ON wanted = 'rollback'
    WHERE m.project_id = project.id AND m.status = 'successful'
        AND (deploy_project.algorithm IS NULL OR m.algorithm = deploy_project.algorithm::text)
        AND (wanted <> 'rollback' OR deployed.id IS NOT NULL AND m.id IS DISTINCT FROM project.serving_model)
    ORDER BY CASE WHEN wanted = 'best_score' THEN pgml.score_of(project.task, m.metrics) END DESC NULLS LAST,
        deployed.created_at DESC NULLS LAST, deployed.id DESC NULLS LAST, m.created_at DESC, m.id DESC
    LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'No qualified models exist for this deployment.' USING ERRCODE = 'no_data_found',
            DETAIL = format('project: %s, strategy: %s, algorithm: %s', project.name, wanted, coalesce(deploy_project.algorithm::text, 'any')),
            HINT = 'what there is: SELECT * FROM pgml.trained_models';
    END IF;
    of_project := project.name;
    by_strategy := wanted;
    PERFORM pgml.deploy_as(project.id, model, wanted::pgml.strategy);
END
$$;
COMMENT ON FUNCTION pgml.deploy_project(text, pgml.strategy, pgml.algorithm) IS 'what pgml.deploy of a project does';

CREATE FUNCTION pgml.deploy(model_id bigint) RETURNS TABLE (project text, strategy text, algorithm text)
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE COST 10000 ROWS 1
BEGIN ATOMIC
    SELECT d.of_project, d.by_strategy, d.with_algorithm FROM pgml.deploy_model(deploy.model_id) AS d;
END;
COMMENT ON FUNCTION pgml.deploy(bigint) IS 'lets this model predict for its project from now on';

CREATE FUNCTION pgml.deploy(
    project_name text, strategy pgml.strategy DEFAULT 'best_score', algorithm pgml.algorithm DEFAULT NULL
) RETURNS TABLE (project text, strategy text, algorithm text)
    LANGUAGE sql VOLATILE PARALLEL UNSAFE COST 10000 ROWS 1
BEGIN ATOMIC
    SELECT d.of_project, d.by_strategy, d.with_algorithm
    FROM pgml.deploy_project(deploy.project_name, deploy.strategy, deploy.algorithm) AS d;
END;
COMMENT ON FUNCTION pgml.deploy(text, pgml.strategy, pgml.algorithm) IS
    'lets the best, the latest or the previous model predict for a project, of one algorithm if that is given';

GRANT EXECUTE ON FUNCTION pgml.target_metric(pgml.task), pgml.score_of(pgml.task, jsonb) TO pgml_user;
GRANT EXECUTE ON FUNCTION pgml.deploy_if_better(pgml.projects, pgml.models, boolean),
    pgml.deploy_as(bigint, bigint, pgml.strategy), pgml.deploy_model(bigint),
    pgml.deploy_project(text, pgml.strategy, pgml.algorithm), pgml.deploy(bigint),
    pgml.deploy(text, pgml.strategy, pgml.algorithm) TO pgml_trainer;
