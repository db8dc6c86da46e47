-- The vector functions without C: what 82_vector.native.sql promises, in SQL.
--
-- Computed in double precision and rounded once, as there. Where IEEE 754 has an infinity
-- because a result is too large, Postgres's own arithmetic raises 22003 here.
CREATE FUNCTION pgml.vector_elements(vector double precision[]) RETURNS double precision[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    place bigint;
BEGIN
    SELECT pg_catalog.min(e.n) INTO place FROM pg_catalog.unnest(vector_elements.vector) WITH ORDINALITY AS e (x, n)
    WHERE e.x IS NULL;
    IF place IS NOT NULL THEN
        RAISE EXCEPTION 'element % of the vector is NULL', place
            USING ERRCODE = 'null_value_not_allowed',
                  HINT = 'leave NULLs out with array_remove(vector, NULL), or replace them';
    END IF;
    RETURN ARRAY(SELECT e.x FROM pg_catalog.unnest(vector_elements.vector) WITH ORDINALITY AS e (x, n)
                 ORDER BY e.n);
END
$$;
COMMENT ON FUNCTION pgml.vector_elements(double precision[]) IS
    'the elements of a vector in one dimension; raises 22004 where one is NULL';

CREATE FUNCTION pgml.vector_pairs(vector double precision[], other double precision[],
    OUT n bigint, OUT a double precision, OUT b double precision) RETURNS SETOF record
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    one double precision[] := pgml.vector_elements(vector_pairs.vector);
    two double precision[] := pgml.vector_elements(vector_pairs.other);
BEGIN
    IF pg_catalog.cardinality(one) OPERATOR(pg_catalog.<>) pg_catalog.cardinality(two) THEN
        RAISE EXCEPTION 'vectors of % and of % elements do not go together',
            pg_catalog.cardinality(one), pg_catalog.cardinality(two)
            USING ERRCODE = 'array_subscript_error',
                  HINT = 'both must have the same number of elements';
    END IF;
    RETURN QUERY SELECT p.n, p.a, p.b
        FROM ROWS FROM (pg_catalog.unnest(one), pg_catalog.unnest(two)) WITH ORDINALITY AS p (a, b, n);
END
$$;
COMMENT ON FUNCTION pgml.vector_pairs(double precision[], double precision[]) IS
    'the elements of two vectors, place by place; raises 2202E where their lengths differ';

CREATE FUNCTION pgml.vector_quotient(a double precision, b double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN b OPERATOR(pg_catalog.<>) 0 THEN a OPERATOR(pg_catalog./) b
    WHEN a OPERATOR(pg_catalog.=) 0 OR a OPERATOR(pg_catalog.=) 'NaN' THEN 'NaN'::double precision
    WHEN a OPERATOR(pg_catalog.>) 0 THEN 'Infinity'::double precision
    ELSE '-Infinity'::double precision
END;
COMMENT ON FUNCTION pgml.vector_quotient(double precision, double precision) IS
    'a over b; an infinity or NaN where b is 0';
GRANT EXECUTE ON FUNCTION
    pgml.vector_elements(double precision[]),
    pgml.vector_pairs(double precision[], double precision[]),
    pgml.vector_quotient(double precision, double precision)
    TO pgml_user;

CREATE FUNCTION pgml.vector_as_double(state double precision[]) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(state, '{}'::double precision[]);
COMMENT ON FUNCTION pgml.vector_as_double(double precision[]) IS
    'the result of the aggregates over double precision[]';
CREATE FUNCTION pgml.vector_as_real(state double precision[]) RETURNS real[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(state, '{}'::double precision[])::real[];
COMMENT ON FUNCTION pgml.vector_as_real(double precision[]) IS 'the result of the aggregates over real[]';
GRANT EXECUTE ON FUNCTION
    pgml.vector_as_double(double precision[]), pgml.vector_as_real(double precision[]) TO pgml_user;

DO $$
DECLARE
    number text;
    f record;
    made text;
    template CONSTANT text := 'CREATE FUNCTION pgml.%1$s(%2$s) RETURNS %3$s
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN (%4$s)::%3$s';
BEGIN
    FOREACH number IN ARRAY ARRAY['real', 'double precision'] LOOP
        FOR f IN VALUES
            ('add', 'addend', 'addend', 'p.a + p.b', 'the sum of each element and addend', 'the sums of the elements in the same place'),
            ('subtract', 'subtahend', 'subtrahend', 'p.a - p.b', 'each element less the second argument', 'the differences of the elements in the same place'),
            ('multiply', 'multiplicand', 'multiplicand', 'p.a * p.b', 'each element times multiplicand', 'the products of the elements in the same place'),
            ('divide', 'dividend', 'dividend', 'pgml.vector_quotient(p.a, p.b)', 'each element divided by the second argument', 'the quotients of the elements in the same place')
        LOOP
            EXECUTE pg_catalog.format(template, f.column1,
                pg_catalog.format('vector %1$s[], %2$s %1$s', number, f.column2), number || '[]',
                pg_catalog.format(
                    'ARRAY(SELECT %s FROM (SELECT e.x AS a, %s::double precision AS b, e.n
                        FROM pg_catalog.unnest(pgml.vector_elements(vector::double precision[]))
                        WITH ORDINALITY AS e (x, n)) AS p ORDER BY p.n)', f.column4, f.column2));
            made := pg_catalog.format('FUNCTION pgml.%1$s(%2$s[], %2$s)', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column5);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
            EXECUTE pg_catalog.format(template, f.column1,
                pg_catalog.format('vector %1$s[], %2$s %1$s[]', number, f.column3), number || '[]',
                pg_catalog.format(
                    'ARRAY(SELECT %s FROM pgml.vector_pairs(vector::double precision[],
                        %s::double precision[]) AS p ORDER BY p.n)', f.column4, f.column3));
            made := pg_catalog.format('FUNCTION pgml.%1$s(%2$s[], %2$s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column6);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
        END LOOP;

        FOR f IN VALUES
            ('l0', 'count(*) FILTER (WHERE e.x <> 0)', 'how many elements are not zero', false),
            ('l1', 'coalesce(sum(abs(e.x)), 0)', 'the sum of the absolute values', true),
            ('l2', 'coalesce(sqrt(sum(e.x * e.x)), 0)', 'the Euclidean length', true),
            ('max', 'coalesce(max(abs(e.x)), 0)', 'the largest absolute value; 0 of an empty vector', true)
        LOOP
            EXECUTE pg_catalog.format(template, 'norm_' || f.column1, pg_catalog.format('vector %s[]', number), number,
                pg_catalog.format('SELECT %s FROM pg_catalog.unnest(pgml.vector_elements(vector::double precision[])) AS e (x)',
                    f.column2));
            made := pg_catalog.format('FUNCTION pgml.norm_%s(%s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column3);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
            CONTINUE WHEN NOT f.column4;
            EXECUTE pg_catalog.format(template, 'normalize_' || f.column1, pg_catalog.format('vector %s[]', number),
                number || '[]',
                pg_catalog.format(
                    'ARRAY(SELECT pgml.vector_quotient(e.x, s.norm)
                        FROM (SELECT %s AS norm FROM pg_catalog.unnest(
                            pgml.vector_elements(vector::double precision[])) AS e (x)) AS s,
                        pg_catalog.unnest(vector::double precision[]) WITH ORDINALITY AS e (x, n) ORDER BY e.n)',
                    f.column2));
            made := pg_catalog.format('FUNCTION pgml.normalize_%s(%s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made,
                pg_catalog.format('the vector divided by its norm_%s; NaN where that is 0', f.column1));
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
        END LOOP;

        FOR f IN VALUES
            ('distance_l1', 'coalesce(sum(abs(p.a - p.b)), 0)', 'the sum of the absolute differences'),
            ('distance_l2', 'coalesce(sqrt(sum((p.a - p.b) * (p.a - p.b))), 0)', 'the Euclidean distance'),
            ('dot_product', 'coalesce(sum(p.a * p.b), 0)', 'the inner product'),
            ('cosine_similarity', 'coalesce(pgml.vector_quotient(sum(p.a * p.b),
                sqrt(sum(p.a * p.a)) * sqrt(sum(p.b * p.b))), ''NaN'')',
             'the cosine of the angle between them; NaN where one is zero')
        LOOP
            EXECUTE pg_catalog.format(template, f.column1, pg_catalog.format('vector %1$s[], other %1$s[]', number),
                number,
                pg_catalog.format(
                    'SELECT %s FROM pgml.vector_pairs(vector::double precision[], other::double precision[]) AS p',
                    f.column2));
            made := pg_catalog.format('FUNCTION pgml.%1$s(%2$s[], %2$s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column3);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
        END LOOP;

        FOR f IN VALUES
            ('sum', 'p.a + p.b', 'e.x', 'the sum, element by element over the rows; {} where there are none'),
            ('min', 'least(p.a, p.b)', 'e.x', 'the smallest, element by element over the rows; {} where there are none'),
            ('max', 'greatest(p.a, p.b)', 'e.x', 'the largest, element by element over the rows; {} where there are none'),
            ('min_abs', 'least(p.a, abs(p.b))', 'abs(e.x)', 'the smallest absolute value, element by element over the rows; {} where there are none'),
            ('max_abs', 'greatest(p.a, abs(p.b))', 'abs(e.x)', 'the largest absolute value, element by element over the rows; {} where there are none')
        LOOP
            EXECUTE pg_catalog.format(
                'CREATE FUNCTION pgml.vector_%1$s(state double precision[], vector %2$s[])
                    RETURNS double precision[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
                    RETURN CASE
                        WHEN vector IS NULL THEN state
                        WHEN state IS NULL THEN ARRAY(SELECT %3$s FROM pg_catalog.unnest(
                            pgml.vector_elements(vector::double precision[])) WITH ORDINALITY AS e (x, n) ORDER BY e.n)
                        ELSE ARRAY(SELECT %4$s FROM pgml.vector_pairs(state, vector::double precision[]) AS p
                            ORDER BY p.n)
                    END', f.column1, number, f.column3, f.column2);
            made := pg_catalog.format('FUNCTION pgml.vector_%s(double precision[], %s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, 'one more row of the aggregate pgml.' || f.column1);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
        END LOOP;
    END LOOP;

    -- The step over double precision[] combines the states of either.
    FOREACH number IN ARRAY ARRAY['real', 'double precision'] LOOP
        FOR f IN VALUES
            ('sum', 'the sum, element by element over the rows; {} where there are none'),
            ('min', 'the smallest, element by element over the rows; {} where there are none'),
            ('max', 'the largest, element by element over the rows; {} where there are none'),
            ('min_abs', 'the smallest absolute value, element by element over the rows; {} where there are none'),
            ('max_abs', 'the largest absolute value, element by element over the rows; {} where there are none')
        LOOP
            EXECUTE pg_catalog.format(
                'CREATE AGGREGATE pgml.%1$s(%2$s[]) (
                    SFUNC = pgml.vector_%1$s, STYPE = double precision[], FINALFUNC = pgml.vector_as_%3$s,
                    COMBINEFUNC = pgml.vector_%1$s, PARALLEL = SAFE)',
                f.column1, number, pg_catalog.split_part(number, ' ', 1));
            EXECUTE pg_catalog.format('COMMENT ON AGGREGATE pgml.%s(%s[]) IS %L', f.column1, number, f.column2);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION pgml.%s(%s[]) TO pgml_user', f.column1, number);
        END LOOP;
    END LOOP;
END
$$;
