-- The vector functions for the other arrays that a query may hold: pgml.norm_l2(ARRAY[1.0, 2.0])
-- is a numeric[] and pgml.norm_l2(ARRAY[1, 2]) an integer[]; without a form of their own
-- Postgres cannot choose between real[] and double precision[]. All answer in double precision.
DO $$
DECLARE
    number text;
    f record;
    made text;
    template CONSTANT text := 'CREATE FUNCTION pgml.%1$s(%2$s) RETURNS %3$s
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN pgml.%1$s(%4$s)';
BEGIN
    FOREACH number IN ARRAY ARRAY['smallint', 'integer', 'bigint', 'numeric'] LOOP
        FOR f IN VALUES
            ('add', 'addend', 'addend', 'the sum of each element and addend', 'the sums of the elements in the same place'),
            ('subtract', 'subtahend', 'subtrahend', 'each element less the second argument', 'the differences of the elements in the same place'),
            ('multiply', 'multiplicand', 'multiplicand', 'each element times multiplicand', 'the products of the elements in the same place'),
            ('divide', 'dividend', 'dividend', 'each element divided by the second argument', 'the quotients of the elements in the same place')
        LOOP
            -- A numeric takes any whole number, and leaves double precision to the form of its own.
            EXECUTE pg_catalog.format(template, f.column1,
                pg_catalog.format('vector %s[], %s numeric', number, f.column2), 'double precision[]',
                pg_catalog.format('vector::double precision[], %s::double precision', f.column2));
            made := pg_catalog.format('FUNCTION pgml.%s(%s[], numeric)', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column4);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
            EXECUTE pg_catalog.format(template, f.column1,
                pg_catalog.format('vector %1$s[], %2$s %1$s[]', number, f.column3), 'double precision[]',
                pg_catalog.format('vector::double precision[], %s::double precision[]', f.column3));
            made := pg_catalog.format('FUNCTION pgml.%1$s(%2$s[], %2$s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column5);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
        END LOOP;

        FOR f IN VALUES
            ('norm_l0', 'double precision', 'how many elements are not zero'),
            ('norm_l1', 'double precision', 'the sum of the absolute values'),
            ('norm_l2', 'double precision', 'the Euclidean length'),
            ('norm_max', 'double precision', 'the largest absolute value; 0 of an empty vector'),
            ('normalize_l1', 'double precision[]', 'the vector divided by its norm_l1; NaN where that is 0'),
            ('normalize_l2', 'double precision[]', 'the vector divided by its norm_l2; NaN where that is 0'),
            ('normalize_max', 'double precision[]', 'the vector divided by its norm_max; NaN where that is 0')
        LOOP
            EXECUTE pg_catalog.format(template, f.column1, pg_catalog.format('vector %s[]', number), f.column2,
                'vector::double precision[]');
            made := pg_catalog.format('FUNCTION pgml.%s(%s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column3);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
        END LOOP;

        FOR f IN VALUES
            ('distance_l1', 'the sum of the absolute differences'),
            ('distance_l2', 'the Euclidean distance'),
            ('dot_product', 'the inner product'),
            ('cosine_similarity', 'the cosine of the angle between them; NaN where one is zero')
        LOOP
            EXECUTE pg_catalog.format(template, f.column1,
                pg_catalog.format('vector %1$s[], other %1$s[]', number), 'double precision',
                'vector::double precision[], other::double precision[]');
            made := pg_catalog.format('FUNCTION pgml.%1$s(%2$s[], %2$s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, f.column2);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
        END LOOP;

        FOR f IN VALUES
            ('sum', 'the sum, element by element over the rows; {} where there are none'),
            ('min', 'the smallest, element by element over the rows; {} where there are none'),
            ('max', 'the largest, element by element over the rows; {} where there are none'),
            ('min_abs', 'the smallest absolute value, element by element over the rows; {} where there are none'),
            ('max_abs', 'the largest absolute value, element by element over the rows; {} where there are none')
        LOOP
            EXECUTE pg_catalog.format(
                'CREATE FUNCTION pgml.vector_%1$s(state double precision[], vector %2$s[])
                    RETURNS double precision[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
                    RETURN pgml.vector_%1$s(state, vector::double precision[])', f.column1, number);
            made := pg_catalog.format('FUNCTION pgml.vector_%s(double precision[], %s[])', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON %s IS %L', made, 'one more row of the aggregate pgml.' || f.column1);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON %s TO pgml_user', made);
            EXECUTE pg_catalog.format(
                'CREATE AGGREGATE pgml.%1$s(%2$s[]) (
                    SFUNC = pgml.vector_%1$s, STYPE = double precision[], FINALFUNC = pgml.vector_as_double,
                    COMBINEFUNC = pgml.vector_%1$s, PARALLEL = SAFE)', f.column1, number);
            EXECUTE pg_catalog.format('COMMENT ON AGGREGATE pgml.%s(%s[]) IS %L', f.column1, number, f.column2);
            EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION pgml.%s(%s[]) TO pgml_user', f.column1, number);
        END LOOP;
    END LOOP;
END
$$;
