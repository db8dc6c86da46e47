-- From the name of a relation to the SELECT that trains on it.
--
-- The SELECT casts what the server need not know: numeric to float8, enums to text, arrays of
-- numeric to float8[]. The specification of the call describes the same columns, in order.

-- The caller's search_path counts, and public after it. A name that SQL does not read is
-- taken as it stands, upper case, slashes and dots included: data sets have such names.
CREATE FUNCTION pgml.find_relation(relation_name text) RETURNS regclass
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    dot integer := pg_catalog.strpos(find_relation.relation_name, '.');
    schema_part pg_catalog.text := pg_catalog.split_part(find_relation.relation_name, '.', 1);
    table_part pg_catalog.text := pg_catalog.substr(find_relation.relation_name, dot OPERATOR(pg_catalog.+) 1);
    found_relation pg_catalog.oid;
BEGIN
    IF find_relation.relation_name
       OPERATOR(pg_catalog.~) '^("([^"]|"")+"|[^\s."]+)(\.("([^"]|"")+"|[^\s."]+))?$' THEN
        found_relation := pg_catalog.to_regclass(find_relation.relation_name);
    END IF;
    IF found_relation IS NULL THEN
        SELECT c.oid INTO found_relation
        FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        WHERE dot OPERATOR(pg_catalog.>) 0 AND c.relname OPERATOR(pg_catalog.=) table_part::pg_catalog.name
              AND n.nspname OPERATOR(pg_catalog.=) schema_part::pg_catalog.name
           OR c.relname OPERATOR(pg_catalog.=) find_relation.relation_name::pg_catalog.name
              AND (n.nspname OPERATOR(pg_catalog.=) 'public' OR pg_catalog.pg_table_is_visible(c.oid))
        ORDER BY pg_catalog.pg_table_is_visible(c.oid) DESC LIMIT 1;
    END IF;
    IF found_relation IS NULL AND dot OPERATOR(pg_catalog.>) 0 THEN
        RAISE EXCEPTION 'Relation "%"."%" doesn''t exist', schema_part, table_part
            USING ERRCODE = 'undefined_table', HINT = 'write the name as in SQL: schema.table, with quotes where it needs them';
    ELSIF found_relation IS NULL THEN
        RAISE EXCEPTION 'Relation "%" could not be found in the public schema. Please specify the table schema, e.g. pgml.%',
            find_relation.relation_name, find_relation.relation_name
            USING ERRCODE = 'undefined_table', HINT = pg_catalog.format(
                'the search_path was looked through first: %s', pg_catalog.current_setting('search_path'));
    END IF;
    RETURN found_relation;
END
$$;
COMMENT ON FUNCTION pgml.find_relation(text) IS
    'the relation of that name, in the search_path or in public; raises 42P01';

CREATE FUNCTION pgml.relation_name(relation regclass) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT pg_catalog.format('%I.%I', CASE WHEN c.relpersistence = 't'::"char" THEN 'pg_temp' ELSE n.nspname END, c.relname)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = relation_name.relation;
END;
COMMENT ON FUNCTION pgml.relation_name(regclass) IS 'name of a relation with its schema, whatever the search_path is';

-- A domain is its base type. "cast_to" is NULL where the value travels as it is.
CREATE FUNCTION pgml.training_type(
    type_oid oid, OUT pg_type text, OUT is_array boolean, OUT cast_to text, OUT fits boolean
) RETURNS record
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    base oid := training_type.type_oid;
    kind "char";
    element oid;
    next oid;
BEGIN
    LOOP
        SELECT t.typtype, t.typbasetype, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END, t.typname
        INTO kind, next, element, training_type.pg_type FROM pg_type AS t WHERE t.oid = base;
        EXIT WHEN kind <> 'd';
        base := next;
    END LOOP;
    is_array := element <> 0;
    IF is_array THEN
        SELECT t.typname INTO training_type.pg_type FROM pg_type AS t WHERE t.oid = element;
    END IF;
    cast_to := CASE
        WHEN NOT is_array AND kind = 'e' THEN 'text'
        WHEN training_type.pg_type = 'numeric' THEN CASE WHEN is_array THEN 'float8[]' ELSE 'float8' END
        WHEN NOT is_array AND training_type.pg_type IN ('varchar', 'bpchar', 'name', 'char') THEN 'text'
        WHEN NOT is_array AND EXISTS (SELECT FROM pg_cast AS c
            WHERE c.castsource = base AND c.casttarget = 'real[]'::regtype) THEN 'real[]'
    END;
    fits := cast_to IS NOT NULL
        OR element = ANY ('{bool,int2,int4,int8,float4,float8}'::regtype[])
        OR base = ANY ('{bool,int2,int4,int8,float4,float8,text,date,timestamp,timestamptz}'::regtype[]);
    is_array := is_array OR cast_to IS NOT DISTINCT FROM 'real[]';
    IF element <> 0 THEN
        training_type.pg_type := training_type.pg_type || '[]';
    END IF;
END
$$;
COMMENT ON FUNCTION pgml.training_type(oid) IS
    'what training makes of a type: its name, whether it is an array, the type it is sent as, whether it can be used';

CREATE FUNCTION pgml.training_query(
    relation regclass, labels text[], OUT query text, OUT columns jsonb
) RETURNS record
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    attribute record;
    expressions text[] := '{}';
    label text;
BEGIN
    columns := '[]';
    FOR attribute IN
        SELECT a.attname::text AS name, a.attnotnull, k.*, coalesce(a.attname = ANY (training_query.labels), false) AS is_label
        FROM pg_attribute AS a CROSS JOIN LATERAL pgml.training_type(a.atttypid) AS k
        WHERE a.attrelid = training_query.relation AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
    LOOP
        IF NOT attribute.fits THEN
            RAISE EXCEPTION 'Unhandled type for quantitative % column: % "%"',
                CASE WHEN attribute.is_array THEN 'array' ELSE 'scalar' END, attribute.name, attribute.pg_type
                USING ERRCODE = 'feature_not_supported', DETAIL = 'code: bad_argument',
                      HINT = 'train on a view without that column, or with a cast of it to a number, boolean, date, timestamp, text, or array of numbers';
        END IF;
        expressions := expressions || (format('r.%I', attribute.name) || coalesce('::pg_catalog.' || attribute.cast_to, '')
            || format(' AS %I', attribute.name));
        columns := columns || jsonb_build_object(
            'name', attribute.name, 'pg_type', attribute.pg_type, 'nullable', NOT attribute.attnotnull,
            'label', attribute.is_label, 'position', cardinality(expressions), 'array', attribute.is_array);
    END LOOP;
    FOREACH label IN ARRAY coalesce(training_query.labels, '{}') LOOP
        IF NOT columns @> jsonb_build_array(jsonb_build_object('name', label)) THEN
            RAISE EXCEPTION 'Column `%` not found. Did you pass the correct `y_column_name`?', coalesce(label, 'NULL')
                USING ERRCODE = 'undefined_column', DETAIL = format('relation: %s', pgml.relation_name(training_query.relation)),
                      HINT = format('its columns: %s', (SELECT string_agg(c ->> 'name', ', ') FROM jsonb_array_elements(columns) AS c));
        END IF;
    END LOOP;
    IF columns = '[]' THEN
        RAISE EXCEPTION 'relation % has no columns', training_query.relation USING ERRCODE = 'wrong_object_type',
            HINT = 'name a table or a view';
    END IF;
    query := format('SELECT %s FROM %s AS r', array_to_string(expressions, ', '), pgml.relation_name(training_query.relation));
END
$$;
COMMENT ON FUNCTION pgml.training_query(regclass, text[]) IS
    'the SELECT that sends a relation to be trained on, and its columns as the specification of the call has them';

GRANT EXECUTE ON FUNCTION pgml.find_relation(text), pgml.relation_name(regclass), pgml.training_type(oid),
    pgml.training_query(regclass, text[]) TO pgml_user;
