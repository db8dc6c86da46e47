/*
 * vector.h: what the files of the vector functions promise each other.
 *
 * A vector is a real[] or a double precision[] without NULLs; of several dimensions the
 * elements count in storage order. All arithmetic is done in double precision and rounded
 * once, to the type of the argument, so one C function serves both types.
 *
 *	vector_array.c	arrays to vectors and back
 *	vector_math.c	the functions		vector_aggregate.c	sum, min, max, min_abs, max_abs
 */
#ifndef ANNEX_VECTOR_H
#define ANNEX_VECTOR_H

#include "postgres.h"

#include "fmgr.h"

typedef struct Vector
{
	Oid			element;		/* FLOAT4OID or FLOAT8OID */
	int			length;
	const float8 *values;
} Vector;

extern Vector vector_of(Datum array);
extern Datum vector_datum(Oid element, const float8 *values, int length);
extern Datum vector_number(Oid element, float8 value);
extern float8 vector_scalar(Oid element, Datum number);
extern void vector_same_length(int one, int other);

#endif
