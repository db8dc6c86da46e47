/*
 * request.c: the inputs of a request, and the OPEN frame that states them.
 *
 * Inputs are evaluated when the first row is asked for, so that parameters of joins have
 * their values, and kept as long as the request, for they come back in its rows.
 */
#include "annex.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/timeout.h"

/* Postgres's own message about statement_timeout should win over the server's. */
#define STATEMENT_GRACE_MS 50

/* Index of the input that column `attnum` is; -1 where it was not given. */
static int
input_index(AnnexScan *scan, AttrNumber attnum)
{
	int			i;

	for (i = 0; i < scan->ninputs; i++)
	{
		if (scan->inputs[i] == attnum)
			return i;
	}
	return -1;
}

/* The given value of an input column as a C string; NULL where it was not given. */
char *
annex_input_text(AnnexScan *scan, AttrNumber attnum)
{
	int			i = attnum == InvalidAttrNumber ? -1 : input_index(scan, attnum);
	Oid			function;
	bool		varlena;

	if (i < 0 || i == scan->batch)
		return NULL;
	if (scan->types[i] == TEXTOID)
		return TextDatumGetCString(scan->values[i]);
	getTypeOutputInfo(scan->types[i], &function, &varlena);
	return OidOutputFunctionCall(function, scan->values[i]);
}

static void
split_array(AnnexScan *scan, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Oid			element = ARR_ELEMTYPE(array);
	AnnexCodec	codec;

	get_typlenbyvalalign(element, &codec.typlen, &codec.typbyval, &codec.typalign);
	deconstruct_array(array, element, codec.typlen, codec.typbyval, codec.typalign,
					  &scan->elements, &scan->element_nulls, &scan->nelements);
}

/*
 * Evaluate the inputs. False where one is NULL or the batch is empty: then nothing can be
 * equal to it, and there are no rows to ask for.
 */
bool
annex_request_inputs(AnnexScan *scan)
{
	ExprContext *econtext = scan->node->ss.ps.ps_ExprContext;
	MemoryContext old;
	int			i;

	for (i = 0; i < scan->ninputs; i++)
	{
		bool		isnull;
		Datum		value = ExecEvalExprSwitchContext(scan->exprs[i], econtext, &isnull);
		AnnexCodec *codec = &scan->input_codecs[i];

		if (isnull)
			return false;
		old = MemoryContextSwitchTo(scan->request_mcxt);
		if (codec->typlen == -1)
			value = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
		else
			value = datumCopy(value, codec->typbyval, codec->typlen);
		scan->values[i] = value;
		if (i == scan->batch)
			split_array(scan, value);
		MemoryContextSwitchTo(old);
	}
	return scan->batch < 0 || scan->nelements > 0;
}

static long
statement_time_left(void)
{
	TimestampTz finish;

	if (!get_timeout_active(STATEMENT_TIMEOUT))
		return 0;
	finish = get_timeout_finish_time(STATEMENT_TIMEOUT);
	return Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), finish)) +
		STATEMENT_GRACE_MS;
}

/* The request's deadline in milliseconds from now; 0 for none. */
static long
deadline_ms(AnnexTable *table)
{
	long		left = statement_time_left();
	long		own = table->bulk || table->push ? 0 : annex_timeout_ms;

	if (left == 0 || own == 0)
		return Max(left, own);
	return Min(left, own);
}

static uint8
open_flags(AnnexScan *scan)
{
	AnnexTable *table = scan->table;
	uint8		flags = 0;

	if (scan->stream.single)
		flags |= OPEN_SINGLE;
	if (table->bulk)
		flags |= OPEN_BULK;
	/* Elements of an array are told from each other by their position. */
	if (table->unordered && scan->batch < 0)
		flags |= OPEN_UNORDERED;
	if (scan->text_results)
		flags |= OPEN_TEXT_RESULTS;
	if (table->push)
		flags |= OPEN_PUSH;
	return flags;
}

static void
put_args(AnnexScan *scan, FrameBuffer *out)
{
	size_t		count_at = out->len;
	uint16		count = 0;
	int			i;

	frame_put_u16(out, 0);
	for (i = 0; i < scan->ninputs; i++)
	{
		AnnexColumn *column = &scan->table->columns[scan->inputs[i] - 1];
		AnnexCodec *codec = &scan->input_codecs[i];

		if (i == scan->batch || scan->inputs[i] == scan->table->query)
			continue;
		frame_put_column(out, column->wire_name, codec->type);
		frame_put_u8(out, codec->as_text);
		annex_put_value(out, codec, scan->values[i]);
		count++;
	}
	out->data[count_at] = (char) (count >> 8);
	out->data[count_at + 1] = (char) count;
}

static void
put_columns(AnnexScan *scan, FrameBuffer *out)
{
	int			i;

	frame_put_u16(out, scan->out ? scan->out->ncols : 0);
	for (i = 0; scan->out && i < scan->out->ncols; i++)
		frame_put_column(out, scan->out->columns[i].wire_name, scan->out->columns[i].wire_type);
	frame_put_u16(out, scan->noutputs);
	for (i = 0; i < scan->noutputs; i++)
		frame_put_column(out, scan->table->columns[scan->outputs[i] - 1].wire_name,
						 scan->codecs[i].type);
}

static void
put_utf8(FrameBuffer *out, const char *text)
{
	const char *utf8 = annex_to_utf8(text);

	frame_put_text(out, utf8, strlen(utf8));
}

static void
put_open(AnnexScan *scan, const char *grant, long deadline)
{
	FrameBuffer *out = &scan->stream.conn->out;
	size_t		start = frame_begin(out, FRAME_OPEN, open_flags(scan), 0);
	size_t		size;

	frame_put_u32(out, deadline);
	frame_put_text(out, scan->table->verb, strlen(scan->table->verb));
	put_utf8(out, GetUserNameFromId(GetUserId(), false));
	put_utf8(out, grant);
	put_args(scan, out);
	put_columns(scan, out);
	size = frame_finish(out, start);
	if (size > scan->stream.conn->max_frame)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("inputs of %zu bytes are more than the pgannex server takes at once", size),
				 errdetail("code: too_large\nThe limit is %u bytes.", scan->stream.conn->max_frame),
				 errhint("shorten the text, or split it into chunks")));
}

/* Ask the gate, take a connection, and queue OPEN. */
void
annex_request_open(AnnexScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->request_mcxt);
	char	   *model = annex_input_text(scan, scan->table->model);
	char	   *grant = annex_authorize(scan->table, model);
	long		deadline = deadline_ms(scan->table);
	int			saved;

	if (model != NULL && scan->node->ss.ps.instrument != NULL && scan->model == NULL)
		scan->model = MemoryContextStrdup(scan->mcxt, model);
	annex_source_open(scan);
	scan->stream.single = scan->out == NULL;
	annex_connection_acquire(&scan->stream.conn, scan->stream.subid);
	saved = annex_utf8_begin();
	PG_TRY();
	{
		put_open(scan, grant, Min(deadline, PG_INT32_MAX));
	}
	PG_FINALLY();
	{
		annex_utf8_end(saved);
	}
	PG_END_TRY();
	scan->stream.deadline = deadline == 0 ? 0
		: TimestampTzPlusMilliseconds(GetCurrentTimestamp(), deadline);
	MemoryContextSwitchTo(old);
}
