-- Deletes the rows of a small table that are older than so many days; {"table": …, "column": …, "days": …} says which.
-- A job of TimescaleDB's Community edition calls it (see ingest/store/schema/timescale_policies.py). Elsewhere it may be called by hand, or by cron.
CREATE OR REPLACE PROCEDURE expire(job_id integer, config jsonb) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DELETE FROM %I WHERE %I < now() - make_interval(days => $1)', config ->> 'table', config ->> 'column')
      USING (config ->> 'days')::integer;
END
$$;
