/*
 * source.c: where the batches of a request come from.
 *
 * From the elements of an array (`= ANY`), from a query read lazily while results come
 * back (`pull`), or from a query run to its end (`push`). How a batch is built is batch.c's
 * business, when one may leave stream.c's.
 */
#include "annex.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

/* The first batches of a query are small, so that its first rows come soon. */
#define FIRST_BATCH_ROWS 32
#define PUSH_BATCH_ROWS 65536
/* Rows of a table of numbers are small and quickly dealt with: the bytes of a batch bound them. */
#define WIDE_BATCH_ROWS 8192

static void
check_columns(AnnexTable *table, int ncols)
{
	if (ncols == table->nstream || (ncols > table->nstream && table->stream_rest))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the query returns %d columns, but \"%s\" takes %s%d",
					ncols, table->name, table->stream_rest ? "at least " : "", table->nstream),
			 errdetail("code: bad_argument"),
			 errhint("its columns are matched by position: a key first, then what is computed with")));
}

/* A name says one thing to the server: one column of the query, or one input of the table. */
static void
check_name(AnnexScan *scan, int ncols, const char *name)
{
	AnnexTable *table = scan->table;
	int			i;

	for (i = 0; i < ncols; i++)
	{
		if (strcmp(scan->out->columns[i].wire_name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the query returns two columns named \"%s\"", name),
					 errdetail("code: bad_argument"),
					 errhint("give each of them a name of its own with AS")));
	}
	for (i = 0; i < scan->ninputs; i++)
	{
		if (scan->inputs[i] != table->query &&
			strcmp(table->columns[scan->inputs[i] - 1].wire_name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("the query's column \"%s\" has the name of an input of \"%s\"", name,
							table->name),
					 errdetail("code: bad_argument"),
					 errhint("give it another name with AS")));
	}
}

/* Name and type of each column that a query sends. */
static void
describe_columns(AnnexScan *scan, TupleDesc desc)
{
	AnnexTable *table = scan->table;
	int			i;

	check_columns(table, desc->natts);
	scan->out = annex_batch(desc->natts);
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);
		const char *name;
		Oid			base;
		Oid			wire_type;

		if (i < table->nstream)
		{
			annex_batch_column(scan->out, i, table->stream[i].wire_name, table->stream[i].type,
							   attr->atttypid);
			continue;
		}
		name = annex_to_utf8(pstrdup(NameStr(attr->attname)));
		check_name(scan, i, name);
		wire_type = annex_wire_type(attr->atttypid, &base);
		annex_batch_column(scan->out, i, name, wire_type, base);
	}
}

/* Set up the source of a request, in the request's memory, before OPEN names its columns. */
void
annex_source_open(AnnexScan *scan)
{
	AnnexTable *table = scan->table;

	scan->out = NULL;
	scan->query = NULL;
	if (table->query != InvalidAttrNumber)
	{
		scan->query = annex_query(scan->node->ss.ps.state, annex_input_text(scan, table->query),
								  NULL, table->push);
		describe_columns(scan, annex_query_desc(scan->query));
		scan->batch_rows = FIRST_BATCH_ROWS;
	}
	else if (scan->batch >= 0)
	{
		AnnexColumn *column = &table->columns[scan->inputs[scan->batch] - 1];
		Oid			type = scan->input_codecs[scan->batch].type;

		scan->out = annex_batch(1);
		annex_batch_column(scan->out, 0, column->wire_name, type, type);
		scan->next_element = 0;
	}
}

/* Queue what the batch holds as one frame. */
static void
emit(AnnexScan *scan, bool last)
{
	AnnexStream *stream = &scan->stream;

	annex_batch_emit(scan->out, &stream->conn->out, stream->next_seq, last,
					 stream->conn->max_frame);
	stream->next_seq++;
	stream->unanswered++;
}

static void
feed_array(AnnexScan *scan)
{
	while (scan->next_element < scan->nelements &&
		   !annex_batch_full(scan->out, ANNEX_BATCH_ROWS))
	{
		Datum		value = scan->elements[scan->next_element];
		bool		isnull = scan->element_nulls[scan->next_element];

		if (!annex_batch_fits(scan->out, &value, &isnull))
			break;
		annex_batch_append(scan->out, &value, &isnull);
		scan->next_element++;
	}
	emit(scan, scan->next_element == scan->nelements);
	scan->stream.input_done = scan->next_element == scan->nelements && scan->out->nrows == 0;
}

/* Append a row of the query. Its float arrays may not fit the batch; then it leaves first. */
static bool
append_slot(AnnexScan *scan, TupleTableSlot *slot)
{
	Datum	   *values;
	MemoryContext old;

	slot_getallattrs(slot);
	old = MemoryContextSwitchTo(scan->out->temporary);
	values = palloc(sizeof(Datum) * Max(scan->out->ncols, 1));
	memcpy(values, slot->tts_values, sizeof(Datum) * scan->out->ncols);
	MemoryContextSwitchTo(old);
	while (!annex_batch_fits(scan->out, values, slot->tts_isnull))
	{
		annex_stream_await_credit(scan);
		emit(scan, false);
	}
	annex_batch_append(scan->out, values, slot->tts_isnull);
	return !annex_batch_full(scan->out, scan->batch_rows);
}

static bool
pull_row(void *arg, TupleTableSlot *slot)
{
	return append_slot((AnnexScan *) arg, slot);
}

static void
put_done(AnnexScan *scan)
{
	FrameBuffer *out = &scan->stream.conn->out;

	frame_finish(out, frame_begin(out, FRAME_DONE, 0, 0));
}

static void
feed_query(AnnexScan *scan)
{
	bool		more = true;

	if (!annex_batch_full(scan->out, scan->batch_rows))
		more = annex_query_run(scan->query, scan->batch_rows - scan->out->nrows, pull_row, scan);
	if (scan->out->nrows > 0)
		emit(scan, !more);
	else if (!more)
		put_done(scan);
	scan->stream.input_done = !more && scan->out->nrows == 0;
	scan->batch_rows = Min(scan->batch_rows * 2,
						   scan->table->stream_rest ? WIDE_BATCH_ROWS : ANNEX_BATCH_ROWS);
}

/* Make the next batch of an array or a query and queue it. */
void
annex_source_feed(AnnexScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->request_mcxt);

	if (scan->query != NULL)
		feed_query(scan);
	else
		feed_array(scan);
	MemoryContextSwitchTo(old);
}

static bool
push_row(void *arg, TupleTableSlot *slot)
{
	AnnexScan  *scan = arg;

	if (append_slot(scan, slot))
		return true;
	annex_stream_await_credit(scan);
	emit(scan, false);
	annex_stream_send(scan);
	return true;
}

/* Run the query to its end; its rows leave as batches fill, at the pace of the ACKs. */
void
annex_source_push(AnnexScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->request_mcxt);

	scan->batch_rows = PUSH_BATCH_ROWS;
	annex_query_run(scan->query, 0, push_row, scan);
	while (scan->out->nrows > 0)
	{
		annex_stream_await_credit(scan);
		emit(scan, false);
	}
	put_done(scan);
	scan->stream.input_done = true;
	MemoryContextSwitchTo(old);
}
