-- Media folders, holds, events, who removed what, and runs that are dated after the fact.
create table folder (
    id     integer primary key check (id >= 1),
    marker text    not null unique,
    path   text    not null,
    apart  integer not null default 0 check (apart in (0, 1))
);

alter table stream add column site text not null default '';

alter table run add column boot_id text;
alter table run add column anchor_boot_us integer;
alter table run add column recorded_anchor_us integer;
alter table run add column drift_ppm real;

alter table stream add column last_ordinal integer not null default 0 check (last_ordinal >= 0);
update stream set last_ordinal = (select coalesce(max(ordinal), 0) from segment where stream_id = id);

create table new_segment (
    stream_id   integer not null references stream (id),
    start_us    integer not null,
    run         integer not null,
    seq         integer not null check (seq >= 0),
    duration_us integer not null check (duration_us >= 0),
    size_bytes  integer not null check (size_bytes > 0),
    fragments   integer not null check (fragments > 0),
    frames      integer not null check (frames >= 0),
    first_chunk integer not null check (first_chunk >= 0),
    chunks      integer not null check (chunks > 0),
    format_id   integer not null references format (id),
    ordinal     integer not null,
    seal        blob    not null check (length(seal) = 16),
    folder_id   integer not null default 1,
    end_us      integer not null generated always as (start_us + duration_us) virtual,
    primary key (stream_id, start_us, run, seq)
) without rowid;
insert into new_segment (stream_id, start_us, run, seq, duration_us, size_bytes, fragments, frames, first_chunk,
                         chunks, format_id, ordinal, seal)
    select stream_id, start_us, run, seq, end_us - start_us, size_bytes, fragments, frames, first_chunk, chunks,
           format_id, ordinal, substr(seal, 1, 16)
    from segment order by stream_id, start_us, run, seq;
drop table segment;
alter table new_segment rename to segment;

-- A path is {camera}/{stream}/{run}/{seq}.mp4; what is no such path was never written by us.
create table new_garbage (
    folder_id integer not null,
    stream_id integer not null,
    run       integer not null check (run >= 0),
    seq       integer not null check (seq >= 0),
    primary key (folder_id, stream_id, run, seq)
) without rowid;
insert or ignore into new_garbage
    select 1, id, cast(substr(rest, 1, instr(rest, '/') - 1) as integer),
           cast(substr(rest, instr(rest, '/') + 1) as integer)
    from (select c.id, substr(g.path, length(c.camera) + length(c.stream) + 3) as rest
          from garbage g join stream c
            on substr(g.path, 1, length(c.camera) + length(c.stream) + 2) = c.camera || '/' || c.stream || '/')
    where rest glob '[0-9]*/[0-9]*.mp4';
drop table garbage;
alter table new_garbage rename to garbage;

alter table gone add column bytes integer not null default 0;
alter table gone add column segments integer not null default 0;
alter table gone add column first_at_us integer;
alter table gone add column last_at_us integer;
alter table gone add column rule text not null default '';
alter table gone add column who text not null default '';
alter table gone add column why text not null default '';

create table stored (
    stream_id integer not null references stream (id),
    folder_id integer not null,
    bytes     integer not null check (bytes >= 0),
    segments  integer not null check (segments >= 0),
    primary key (stream_id, folder_id)
) without rowid;
insert into stored select id, 1, bytes, segments from stream where segments > 0;

create table hold (
    id         integer primary key,
    camera     text    not null,
    stream     text,
    start_us   integer not null,
    end_us     integer not null check (end_us > start_us),
    reason     text    not null check (length(reason) between 1 and 500),
    case_ref   text    not null default '',
    who        text    not null,
    legal      integer not null default 0 check (legal in (0, 1)),
    until_us   integer,
    made_us    integer not null,
    released_us integer,
    released_by text,
    released_why text not null default ''
);

create index hold_camera on hold (camera, start_us) where released_us is null;

create table event (
    id         integer primary key,
    camera     text    not null,
    kind       text    not null check (kind in ('motion', 'line', 'area', 'tamper', 'video-loss', 'input', 'sound',
                                                'object', 'other')),
    start_us   integer not null,
    end_us     integer check (end_us >= start_us),
    camera_us  integer,
    source     text    not null default '',
    words      text    not null default ''
);

create index event_camera on event (camera, start_us);

create table certificate (
    camera    text    not null,
    port      integer not null check (port between 1 and 65535),
    sha256    blob    not null check (length(sha256) = 32),
    seen_us   integer not null,
    primary key (camera, port)
) without rowid;

create index run_undated on run (boot_id) where anchor_source = 'boot' and recorded_anchor_us is null;
create index run_boot on run (boot_id, anchor_boot_us) where boot_id is not null;
