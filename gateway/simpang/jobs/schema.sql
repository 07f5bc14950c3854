-- Jobs: footage that somebody asked for, on its way to a centre. Times are microseconds UTC.

-- One row per request. An ended job stays for the record.
create table if not exists job (
    id              text primary key check (length(id) between 1 and 32),
    idempotency_key text unique,                       -- the same key never makes a second job
    central         text not null,
    party           text not null,
    camera          text not null,
    stream          text not null,
    start_us        integer not null check (start_us >= 0),
    end_us          integer not null check (end_us > start_us),
    priority        integer not null check (priority between 2 and 5),
    ref             text not null,                     -- the asker's reference number, or empty
    state           text not null check (state in ('received', 'authorised', 'refused', 'planned', 'queued',
                        'sending', 'verifying', 'done', 'waiting', 'partial', 'expired', 'cancelled', 'failed')),
    waiting_for     text check (waiting_for in ('window', 'cap', 'link', 'yield')),
    reason          text not null default '',          -- why it ended, where it did not end well
    created_us      integer not null,
    changed_us      integer not null,
    bytes_total     integer not null default 0 check (bytes_total >= 0),
    chunks_total    integer not null default 0 check (chunks_total >= 0),
    gaps            text not null default '[]',        -- JSON [[start_us, end_us, reason], ...]
    check ((state = 'waiting') = (waiting_for is not null))
) strict;

create index if not exists job_open on job (central, priority, created_us)
    where state not in ('refused', 'done', 'partial', 'expired', 'cancelled', 'failed');

-- One row per chunk that the store has confirmed: what a restart need not send again, and what the manifest lists.
create table if not exists job_chunk (
    job         text not null references job (id) on delete cascade,
    run         integer not null,
    number      integer not null,                      -- of the chunk in its run
    object_key  text not null,                         -- without the store's own prefix
    start_us    integer not null,
    duration_us integer not null,
    codec       text not null,                         -- RFC 6381
    init_sha256 blob not null check (length(init_sha256) = 32),
    init_bytes  integer not null,                      -- ftyp and moov at the object's start
    size_bytes  integer not null,
    sha256      blob not null check (length(sha256) = 32),
    seal        blob not null check (length(seal) = 32),
    primary key (job, run, number)
) strict, without rowid;

-- Bytes sent in a billing month, for its cap. month: the local date on which it began.
create table if not exists uplink_month (
    month      text primary key check (month like '____-__-__'),
    sent_bytes integer not null check (sent_bytes >= 0)
) strict;
