-- Data sets to try things on: those that come with scikit-learn, and, where the server may, any
-- of the Hugging Face hub. The server sends columns and rows; the table is the caller's.
CREATE FOREIGN TABLE pgml.dataset_rows (
    source text OPTIONS (input 'required', batch 'false'),
    subset text OPTIONS (input 'optional', batch 'false'),
    "limit" bigint OPTIONS (input 'optional', batch 'false'),
    kwargs jsonb OPTIONS (input 'optional', batch 'false'),
    columns jsonb,
    records jsonb
) SERVER pgannex OPTIONS (verb 'dataset', authorize 'pgml.authorize', lane 'bulk');
COMMENT ON FOREIGN TABLE pgml.dataset_rows IS
    'a data set that the server has or may fetch; read by pgml.load_dataset';
COMMENT ON COLUMN pgml.dataset_rows.source IS 'name of the data set (required)';
COMMENT ON COLUMN pgml.dataset_rows.subset IS 'a part of it that has a name of its own';
COMMENT ON COLUMN pgml.dataset_rows."limit" IS 'at most so many rows';
COMMENT ON COLUMN pgml.dataset_rows.kwargs IS 'options for the hub: split, revision';
COMMENT ON COLUMN pgml.dataset_rows.columns IS 'on the first row: an array of {name, type}';
COMMENT ON COLUMN pgml.dataset_rows.records IS 'an array of records, some hundreds to a row';
GRANT SELECT ON pgml.dataset_rows TO pgml_trainer;

-- The one thing that a caller cannot do for himself, for schema pgml is the extension's owner's:
-- an empty table in it. The types come from a closed list, and what is there already is never
-- touched. CURRENT_USER is the definer here, so the role that the session has set is asked, which
-- a superuser's session after SET ROLE has too: the table is given to that role, or to one that it
-- is a member of and could make the table as.
CREATE FUNCTION pgml.create_dataset_table(table_name name, columns jsonb, table_owner regrole) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    allowed constant text[] := ARRAY['real', 'double precision', 'smallint', 'integer', 'bigint', 'boolean', 'text', 'jsonb'];
    odd text;
    acting name := CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END;
BEGIN
    IF NOT pg_has_role(acting, create_dataset_table.table_owner, 'MEMBER') THEN
        RAISE EXCEPTION 'role % may not make a table for %', quote_ident(acting), create_dataset_table.table_owner
            USING ERRCODE = 'insufficient_privilege', HINT = 'call it as the role that shall own the table';
    END IF;
    IF create_dataset_table.table_name ~ '^snapshot_[0-9]+$' THEN
        RAISE EXCEPTION 'a data set may not be called "%"', create_dataset_table.table_name
            USING ERRCODE = 'reserved_name', HINT = 'names such as snapshot_1 are those of pgml.snapshot';
    END IF;
    SELECT c ->> 'type' INTO odd FROM jsonb_array_elements(create_dataset_table.columns) AS c
    WHERE coalesce(rtrim(c ->> 'type', '[]'), '') <> ALL (allowed) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a data set may not have a column of type %', coalesce(odd, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('one of these, or an array of it: %s', array_to_string(allowed, ', '));
    END IF;
    EXECUTE format('CREATE TABLE pgml.%I (%s)', create_dataset_table.table_name, (
        SELECT string_agg(format('%I %s', c ->> 'name', c ->> 'type'), ', ')
        FROM jsonb_array_elements(create_dataset_table.columns) AS c));
    EXECUTE format('ALTER TABLE pgml.%I OWNER TO %s', create_dataset_table.table_name, create_dataset_table.table_owner);
END
$$;
COMMENT ON FUNCTION pgml.create_dataset_table(name, jsonb, regrole) IS
    'makes an empty table in schema pgml for the role that the session acts as, or one that it is a member of';
GRANT EXECUTE ON FUNCTION pgml.create_dataset_table(name, jsonb, regrole) TO pgml_trainer;

-- The table is dropped by the caller's own right; who has none is told whose it is.
CREATE FUNCTION pgml.load_dataset(
    source text, subset text DEFAULT NULL, "limit" bigint DEFAULT NULL, kwargs jsonb DEFAULT '{}'
) RETURNS TABLE (table_name text, rows bigint)
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE COST 1000000 ROWS 1
AS $$
DECLARE
    loaded bigint := 0;
    added bigint;
    chunk pg_catalog.record;
    there pg_catalog.record;
    given pg_catalog.jsonb := coalesce(load_dataset.kwargs, '{}');
    statement pg_catalog.text := 'SELECT d.columns, d.records FROM pgml.dataset_rows AS d'
        ' WHERE d.source OPERATOR(pg_catalog.=) $1 AND d.kwargs OPERATOR(pg_catalog.=) $4';
BEGIN
    IF load_dataset.source IS NULL THEN
        RAISE EXCEPTION 'source is NULL' USING ERRCODE = 'null_value_not_allowed',
            HINT = 'one of breast_cancer, diabetes, digits, iris, linnerud, wine, or a data set of the hub';
    END IF;
    IF load_dataset.subset IS NOT NULL THEN
        statement := statement OPERATOR(pg_catalog.||) ' AND d.subset OPERATOR(pg_catalog.=) $2';
    END IF;
    IF load_dataset."limit" IS NOT NULL THEN
        statement := statement OPERATOR(pg_catalog.||) ' AND d."limit" OPERATOR(pg_catalog.=) $3';
    END IF;
    FOR chunk IN EXECUTE statement USING load_dataset.source, load_dataset.subset, load_dataset."limit", given LOOP
        IF chunk.columns IS NOT NULL THEN
            SELECT c.relowner::pg_catalog.regrole AS owner, pg_catalog.pg_has_role(c.relowner, 'USAGE')
                   OR pg_catalog.pg_has_role(n.nspowner, 'USAGE') AS may_drop INTO there
            FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
            WHERE n.nspname OPERATOR(pg_catalog.=) 'pgml'
              AND c.relname OPERATOR(pg_catalog.=) load_dataset.source::pg_catalog.name;
            IF FOUND THEN
                IF NOT there.may_drop THEN
                    RAISE EXCEPTION 'table pgml.% is there already and belongs to role %',
                        pg_catalog.quote_ident(load_dataset.source), there.owner
                        USING ERRCODE = 'insufficient_privilege', HINT = pg_catalog.format(
                            'use it, if that role grants SELECT; or have it, or a superuser, drop it: DROP TABLE pgml.%I',
                            load_dataset.source);
                END IF;
                EXECUTE pg_catalog.format('DROP TABLE pgml.%I CASCADE', load_dataset.source);
            END IF;
            PERFORM pgml.create_dataset_table(
                load_dataset.source::pg_catalog.name, chunk.columns, pg_catalog.quote_ident(CURRENT_USER)::pg_catalog.regrole);
        END IF;
        EXECUTE pg_catalog.format(
            'INSERT INTO pgml.%1$I SELECT r.* FROM pg_catalog.jsonb_populate_recordset(NULL::pgml.%1$I, $1) AS r',
            load_dataset.source) USING chunk.records;
        GET DIAGNOSTICS added = ROW_COUNT;
        loaded := loaded OPERATOR(pg_catalog.+) added;
    END LOOP;
    RETURN QUERY SELECT CASE
        WHEN load_dataset.source OPERATOR(pg_catalog.=) ANY (
            ARRAY['breast_cancer', 'diabetes', 'digits', 'iris', 'linnerud', 'wine'])
        THEN 'pgml.'::pg_catalog.text OPERATOR(pg_catalog.||) load_dataset.source ELSE load_dataset.source END, loaded;
END
$$;
COMMENT ON FUNCTION pgml.load_dataset(text, text, bigint, jsonb) IS
    'loads a data set into a table of schema pgml that belongs to the caller; one that is there is dropped first, CASCADE';
GRANT EXECUTE ON FUNCTION pgml.load_dataset(text, text, bigint, jsonb) TO pgml_trainer;
