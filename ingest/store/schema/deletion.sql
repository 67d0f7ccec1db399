-- Renames, hides and deletes sessions, and erases what is left of deleted ones. The functions run with the rights of the tables'
-- owner, so that the page and ingest need no right to change or delete what they must not (ingest/store/schema/grants.py).

-- Has the times judged again that the session's laps were compared with.
CREATE OR REPLACE FUNCTION judge_again(in_session integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO judgements_due (game, track, car, since, topic, partition)
    SELECT t.game, t.track, t.car, min(t.since), s.topic, s.partition
      FROM sessions s
     CROSS JOIN LATERAL (
           SELECT s.game, s.track, s.car, l.started_at FROM laps l WHERE l.session_id = s.id
           UNION ALL
           SELECT b.game, b.track, b.car, b.set_at FROM bests b WHERE b.session_id = s.id
           ) AS t (game, track, car, since)
     WHERE s.id = in_session AND t.track <> ''
     GROUP BY t.game, t.track, t.car, s.topic, s.partition
$$;

-- Gives a session of this user a title, hides or shows it; NULL leaves as it is. Answers whether there is such a session.
CREATE OR REPLACE FUNCTION change_session(in_key text, in_user text, in_title text, in_hidden boolean)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    found_id integer;
    was_hidden boolean;
BEGIN
    SELECT id, hidden INTO found_id, was_hidden FROM sessions WHERE key = in_key AND user_id = in_user FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE sessions SET title = coalesce(in_title, title), hidden = coalesce(in_hidden, hidden) WHERE id = found_id;
    IF in_hidden <> was_hidden THEN
        PERFORM judge_again(found_id);
    END IF;
    RETURN true;
END
$$;

-- Deletes a session of this user, for every reader at once. Answers whether there was one. Its other rows are erased afterwards:
-- in one transaction with them, a long session would keep the worker that writes to it waiting.
CREATE OR REPLACE FUNCTION delete_session(in_key text, in_user text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    found_id integer;
BEGIN
    SELECT id INTO found_id FROM sessions WHERE key = in_key AND user_id = in_user FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM judge_again(found_id);
    INSERT INTO deleted_sessions (session_id, key_hash) VALUES (found_id, sha256(convert_to(in_key, 'UTF8')));
    DELETE FROM sessions WHERE id = found_id;
    RETURN true;
END
$$;

-- Erases a piece of a deleted session: about so many frames, or the rest after the last of them. Answers whether nothing is left.
-- PS003: the session was not deleted.
CREATE OR REPLACE FUNCTION erase_session(in_session integer, in_frames integer)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    of_key bytea;
    first timestamptz;
    last timestamptz;
    deleted bigint;
    computed text;
BEGIN
    SELECT key_hash INTO of_key FROM deleted_sessions WHERE session_id = in_session;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'session % was not deleted', in_session USING ERRCODE = 'PS003';
    END IF;
    -- First: a worker may be moving these into their place.
    DELETE FROM telemetry_pending WHERE session_id = in_session;
    SELECT min(t.time), max(t.time) INTO first, last
      FROM (SELECT time FROM telemetry WHERE session_id = in_session ORDER BY time LIMIT in_frames) AS t;
    IF first IS NOT NULL THEN
        -- With the times as values, so that TimescaleDB unpacks no more of a compressed chunk than it has to.
        EXECUTE format('DELETE FROM telemetry WHERE session_id = %L AND time >= %L AND time <= %L', in_session, first, last);
        GET DIAGNOSTICS deleted = ROW_COUNT;
        IF deleted = 0 THEN
            RAISE EXCEPTION 'frames of session % cannot be deleted', in_session;
        END IF;
        RETURN false;
    END IF;
    DELETE FROM laps WHERE session_id = in_session;
    DELETE FROM lap_sums WHERE session_id = in_session;
    DELETE FROM lap_colours WHERE session_id = in_session;
    DELETE FROM bests WHERE session_id = in_session;
    DELETE FROM gaps WHERE session_id = in_session;
    DELETE FROM clock_corrections WHERE session_id = in_session;
    DELETE FROM dead_letters WHERE sha256(key) = of_key;
    -- A continuous aggregate keeps its seconds where retention dropped their frames.
    IF to_regclass('timescaledb_information.continuous_aggregates') IS NOT NULL THEN
        FOR computed IN EXECUTE
            'SELECT format(''%I.%I'', materialization_hypertable_schema, materialization_hypertable_name)'
            '  FROM timescaledb_information.continuous_aggregates'
            ' WHERE view_schema = current_schema() AND view_name = ''telemetry_1s'''
        LOOP
            EXECUTE format('DELETE FROM %s WHERE session_id = %L', computed, in_session);
        END LOOP;
    END IF;
    UPDATE deleted_sessions SET erased_at = clock_timestamp() WHERE session_id = in_session;
    RETURN true;
END
$$;

-- What is found by name is ours, whoever calls. And nobody calls them but the owner, and those that are given the right.
DO $$
DECLARE
    named text;
BEGIN
    FOR named IN SELECT oid::regprocedure::text FROM pg_proc
                  WHERE pronamespace = current_schema()::regnamespace
                    AND proname IN ('change_session', 'delete_session', 'judge_again', 'erase_session')
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', named, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', named);
    END LOOP;
END
$$;
