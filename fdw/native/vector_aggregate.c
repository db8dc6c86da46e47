/*
 * vector_aggregate.c: the aggregates sum, min, max, min_abs and max_abs over vectors.
 *
 * Element by element over the rows; a NULL row is skipped. The state is a double
 * precision[], NULL before the first row, so a partial result of a parallel worker needs no
 * form of its own and each step function combines two of them as well. The first state
 * fixes the length.
 */
#include "vector.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/float.h"

typedef float8 (*Step) (float8 state, float8 value);

static float8
step_sum(float8 state, float8 value)
{
	return state + value;
}

/* NaN counts as the largest, as in Postgres's own min() and max(). */
static float8
step_min(float8 state, float8 value)
{
	return float8_lt(value, state) ? value : state;
}

static float8
step_max(float8 state, float8 value)
{
	return float8_gt(value, state) ? value : state;
}

static float8
as_it_is(float8 value)
{
	return value;
}

/* The state after the first row. */
static Datum
first_state(Vector vector, float8 (*prepare) (float8))
{
	float8	   *values = palloc(sizeof(float8) * Max(vector.length, 1));
	int			i;

	for (i = 0; i < vector.length; i++)
		values[i] = prepare(vector.values[i]);
	return vector_datum(FLOAT8OID, values, vector.length);
}

/*
 * The state after one more row, or after another state. Inside an aggregate it is changed
 * in place; called by anybody else this must not touch its argument.
 */
static Datum
take(FunctionCallInfo fcinfo, Step step, float8 (*prepare) (float8))
{
	ArrayType  *state;
	Vector		vector;
	float8	   *values;
	int			i;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	vector = vector_of(PG_GETARG_DATUM(1));
	if (PG_ARGISNULL(0))
		return first_state(vector, prepare);
	state = AggCheckCallContext(fcinfo, NULL) ? PG_GETARG_ARRAYTYPE_P(0) : PG_GETARG_ARRAYTYPE_P_COPY(0);
	vector_same_length(vector_of(PointerGetDatum(state)).length, vector.length);
	values = (float8 *) ARR_DATA_PTR(state);
	for (i = 0; i < vector.length; i++)
		values[i] = step(values[i], prepare(vector.values[i]));
	PG_RETURN_ARRAYTYPE_P(state);
}

#define STEP(name, step, prepare) \
	PG_FUNCTION_INFO_V1(pgml_vector_##name); \
	Datum \
	pgml_vector_##name(PG_FUNCTION_ARGS) \
	{ \
		return take(fcinfo, step, prepare); \
	}

STEP(sum, step_sum, as_it_is)
STEP(min, step_min, as_it_is)
STEP(max, step_max, as_it_is)
STEP(min_abs, step_min, fabs)
STEP(max_abs, step_max, fabs)

/* The result: never NULL, and never the state itself, which a window may go on changing. */
static Datum
result(FunctionCallInfo fcinfo, Oid element)
{
	Vector		state;

	if (PG_ARGISNULL(0))
		return vector_datum(element, NULL, 0);
	state = vector_of(PG_GETARG_DATUM(0));
	return vector_datum(element, state.values, state.length);
}

PG_FUNCTION_INFO_V1(pgml_vector_as_real);
Datum
pgml_vector_as_real(PG_FUNCTION_ARGS)
{
	return result(fcinfo, FLOAT4OID);
}

PG_FUNCTION_INFO_V1(pgml_vector_as_double);
Datum
pgml_vector_as_double(PG_FUNCTION_ARGS)
{
	return result(fcinfo, FLOAT8OID);
}
