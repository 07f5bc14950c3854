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

alter table segment add column folder_id integer not null default 1;

create table new_garbage (
    path      text    not null,
    folder_id integer not null default 1,
    primary key (path, folder_id)
) without rowid;
insert into new_garbage (path) select path from garbage;
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
