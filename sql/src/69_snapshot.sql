-- Snapshots: which rows a model is trained on, kept in a table of their own where asked for.
--
-- Nobody may create anything in schema pgml. The one function that does makes pgml.snapshot_ID
-- for a row of pgml.snapshots, empty, like the relation that the row names, and gives it to
-- the row's owner. What it trusts is the row: its policies hold who may write it. The rows
-- are then filled in by the caller, with the caller's rights.
CREATE FUNCTION pgml.create_snapshot_table(snapshot bigint) RETURNS regclass
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted pgml.snapshots;
    source regclass;
    made text := format('pgml.%I', 'snapshot_' || create_snapshot_table.snapshot);
BEGIN
    SELECT s.* INTO wanted FROM pgml.snapshots AS s
    WHERE s.id = create_snapshot_table.snapshot AND s.materialized AND s.status = 'in_progress';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no snapshot % to be made', create_snapshot_table.snapshot
            USING ERRCODE = 'undefined_object', HINT = 'pgml.snapshot and pgml.train with materialize_snapshot make one';
    END IF;
    source := pgml.find_relation(wanted.relation_name);
    IF NOT (has_table_privilege(wanted.owner, source, 'SELECT')
            OR has_any_column_privilege(wanted.owner, source, 'SELECT')) THEN
        RAISE EXCEPTION 'permission denied for relation %', wanted.relation_name USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('CREATE TABLE %s (LIKE %s)', made, pgml.relation_name(source));
    EXECUTE format('COMMENT ON TABLE %s IS %L', made, format('rows of %s as snapshot %s took them', wanted.relation_name, wanted.id));
    EXECUTE format('ALTER TABLE %s OWNER TO %s', made, wanted.owner);
    RETURN made::regclass;
END
$$;
COMMENT ON FUNCTION pgml.create_snapshot_table(bigint) IS
    'makes pgml.snapshot_ID for a snapshot that is to be kept, empty, and gives it to the snapshot''s owner';

CREATE FUNCTION pgml.preprocessor_of(preprocess jsonb, column_name text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT CASE pg_catalog.jsonb_typeof(preprocessor_of.preprocess -> preprocessor_of.column_name)
        WHEN 'object'::text THEN d.defaults || (preprocessor_of.preprocess -> preprocessor_of.column_name)
        ELSE coalesce(preprocessor_of.preprocess -> preprocessor_of.column_name, d.defaults) END
    FROM (SELECT '{"encode": "native", "impute": "error", "scale": "preserve"}'::jsonb) AS d (defaults);
END;
COMMENT ON FUNCTION pgml.preprocessor_of(jsonb, text) IS
    'how a column is preprocessed: what the caller said of it, and the defaults';

CREATE FUNCTION pgml.take_snapshot(
    relation_name text, labels text[], test_size real, test_sampling pgml.sampling, materialize boolean, preprocess jsonb
) RETURNS pgml.snapshots
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    source pg_catalog.regclass := pgml.find_relation(take_snapshot.relation_name);
    described pg_catalog.record := pgml.training_query(source, take_snapshot.labels);
    taken pgml.snapshots;
    odd pg_catalog.text;
BEGIN
    IF pg_catalog.jsonb_typeof(take_snapshot.preprocess) OPERATOR(pg_catalog.<>) 'object' THEN
        RAISE EXCEPTION 'preprocess is %, not an object', take_snapshot.preprocess
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'an object by the names of columns, such as {"age": {"impute": "mean", "scale": "standard"}}';
    END IF;
    SELECT pg_catalog.string_agg(k, ', ') INTO odd
    FROM pg_catalog.jsonb_object_keys(coalesce(take_snapshot.preprocess, '{}')) AS k
    WHERE NOT described.columns OPERATOR(pg_catalog.@>) pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('name', k));
    IF odd IS NOT NULL THEN
        RAISE WARNING 'preprocess names what is no column of %: %', take_snapshot.relation_name, odd;
    END IF;
    RAISE INFO 'Snapshotting table "%", this may take a little while...', take_snapshot.relation_name;
    INSERT INTO pgml.snapshots (relation_name, y_column_name, test_size, test_sampling, status, columns, materialized)
    VALUES (pgml.relation_name(source), take_snapshot.labels, take_snapshot.test_size, take_snapshot.test_sampling,
        'in_progress', (
            SELECT pg_catalog.jsonb_agg(c.value OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(
                'preprocessor', pgml.preprocessor_of(take_snapshot.preprocess, c.value OPERATOR(pg_catalog.->>) 'name')) ORDER BY c.ordinality)
            FROM pg_catalog.jsonb_array_elements(described.columns) WITH ORDINALITY AS c),
        take_snapshot.materialize)
    RETURNING * INTO taken;
    IF taken.materialized THEN
        EXECUTE pg_catalog.format('INSERT INTO %s SELECT * FROM %s',
            pgml.create_snapshot_table(taken.id), taken.relation_name);
        RAISE INFO 'Snapshot of table "%" created and saved in "pgml"."snapshot_%"', take_snapshot.relation_name, taken.id;
    END IF;
    UPDATE pgml.snapshots AS s SET status = 'successful' WHERE s.id OPERATOR(pg_catalog.=) taken.id RETURNING s.* INTO taken;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION pgml.take_snapshot(text, text[], real, pgml.sampling, boolean, jsonb) IS
    'a new row of pgml.snapshots for a relation, with a copy of its rows where materialize is true';

CREATE FUNCTION pgml.take_full_snapshot(
    relation_name text, label text, test_size real, test_sampling pgml.sampling, preprocess jsonb
) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgml.take_snapshot(take_full_snapshot.relation_name, ARRAY[take_full_snapshot.label],
        take_full_snapshot.test_size, take_full_snapshot.test_sampling, true, take_full_snapshot.preprocess);
END
$$;
COMMENT ON FUNCTION pgml.take_full_snapshot(text, text, real, pgml.sampling, jsonb) IS
    'what pgml.snapshot does';

-- A door in SQL: an output column has the name of an argument, which plpgsql refuses.
CREATE FUNCTION pgml.snapshot(
    relation_name text, y_column_name text, test_size real DEFAULT 0.25,
    test_sampling pgml.sampling DEFAULT 'stratified', preprocess jsonb DEFAULT '{}'
) RETURNS TABLE (relation text, y_column_name text)
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE COST 100000 ROWS 1
BEGIN ATOMIC
    SELECT pgml.take_full_snapshot(snapshot.relation_name, snapshot.y_column_name, snapshot.test_size,
        snapshot.test_sampling, snapshot.preprocess);
    SELECT snapshot.relation_name, snapshot.y_column_name;
END;
COMMENT ON FUNCTION pgml.snapshot(text, text, real, pgml.sampling, jsonb) IS
    'keeps the rows of a relation as they are now in pgml.snapshot_ID';

GRANT EXECUTE ON FUNCTION pgml.create_snapshot_table(bigint), pgml.preprocessor_of(jsonb, text),
    pgml.take_snapshot(text, text[], real, pgml.sampling, boolean, jsonb),
    pgml.take_full_snapshot(text, text, real, pgml.sampling, jsonb),
    pgml.snapshot(text, text, real, pgml.sampling, jsonb) TO pgml_trainer;
