-- Versions side by side, and what a snapshot recorded of each feature.
CREATE FUNCTION pgml.compare_models(project text)
    RETURNS TABLE (
        model_id bigint, version bigint, algorithm text, trained_at timestamp without time zone, deployed boolean,
        score double precision, score_change double precision, metrics jsonb, changes jsonb, hyperparams jsonb, rows bigint
    )
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 1000 ROWS 20
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    of_project bigint;
    for_task pgml.task;
    serving bigint;
BEGIN
    SELECT p.id, p.task, p.serving_model INTO of_project, for_task, serving
    FROM pgml.projects AS p WHERE p.name = compare_models.project;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Project named `%` does not exist.', compare_models.project
            USING ERRCODE = 'undefined_object', HINT = 'projects that the role may see: SELECT name FROM pgml.projects';
    END IF;
    RETURN QUERY
    WITH versions AS (
        SELECT m.*, row_number() OVER (ORDER BY m.id) AS number, figures.own,
               (m.metrics ->> (pgml.target_metric(for_task)).metric)::double precision AS target
        FROM pgml.models AS m CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') AS own
            FROM jsonb_each(CASE WHEN jsonb_typeof(m.metrics) = 'object' THEN m.metrics END) AS e
            WHERE jsonb_typeof(e.value) = 'number') AS figures
        WHERE m.project_id = of_project),
    pairs AS (
        SELECT v.*, lag(v.own) OVER (ORDER BY v.id) AS before, lag(v.target) OVER (ORDER BY v.id) AS target_before
        FROM versions AS v)
    SELECT p.id, p.number, p.algorithm, p.created_at, p.id IS NOT DISTINCT FROM serving, p.target, p.target - p.target_before,
           p.own, (SELECT jsonb_object_agg(e.key, (e.value)::numeric - (p.before -> e.key)::numeric)
                   FROM jsonb_each(p.own) AS e WHERE p.before ? e.key),
           p.hyperparams, p.rows
    FROM pairs AS p ORDER BY p.id;
END
$$;
COMMENT ON FUNCTION pgml.compare_models(text) IS
    'one row per version of a project: its metrics, and by how much each differs from the version before';

CREATE FUNCTION pgml.feature_stats(snapshot bigint)
    RETURNS TABLE (
        name text, pg_type text, label boolean, "position" integer, size integer, preprocessor jsonb,
        min double precision, max double precision, max_abs double precision, mean double precision,
        median double precision, mode double precision, variance double precision, std_dev double precision,
        missing bigint, "distinct" bigint, histogram jsonb, ventiles jsonb, categories jsonb
    )
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 1000 ROWS 20
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    recorded jsonb;
BEGIN
    SELECT s.columns INTO recorded FROM pgml.snapshots AS s WHERE s.id = feature_stats.snapshot;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no snapshot %', feature_stats.snapshot
            USING ERRCODE = 'undefined_object', HINT = 'what there is: SELECT id, relation_name FROM pgml.snapshots';
    END IF;
    RETURN QUERY
    SELECT c.value ->> 'name', c.value ->> 'pg_type', (c.value ->> 'label')::boolean, (c.value ->> 'position')::integer,
           (c.value ->> 'size')::integer, c.value -> 'preprocessor', r.min, r.max, r.max_abs, r.mean, r.median, r.mode,
           r.variance, r.std_dev, r.missing, r."distinct", r.histogram, r.ventiles, r.categories
    FROM jsonb_array_elements(recorded) WITH ORDINALITY AS c
        CROSS JOIN LATERAL jsonb_to_record(coalesce(nullif(c.value -> 'statistics', 'null'), '{}')) AS r (
            min double precision, max double precision, max_abs double precision, mean double precision,
            median double precision, mode double precision, variance double precision, std_dev double precision,
            missing bigint, "distinct" bigint, histogram jsonb, ventiles jsonb, categories jsonb)
    ORDER BY c.ordinality;
END
$$;
COMMENT ON FUNCTION pgml.feature_stats(bigint) IS
    'what a snapshot recorded of each column when a model was trained on it';

GRANT EXECUTE ON FUNCTION pgml.compare_models(text), pgml.feature_stats(bigint) TO pgml_user;
