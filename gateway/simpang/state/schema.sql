-- state.db, the roster's part. Times are integer microseconds UTC. One writer: the daemon.

-- One camera that this gateway has recorded or was told to: what keeps its id its own over restarts and moves.
-- A row is added when the camera first answered (and, for an adopted one, accepted the site's credentials).
create table if not exists camera (
  id          text primary key check (length(id) between 1 and 32 and id not glob '*[^a-z0-9-]*'),
  -- 'config': stands in simpang.toml; 'adopted': discovered, and recorded since adopt = "all"
  origin      text not null check (origin in ('config', 'adopted')),
  -- WS-Discovery endpoint reference: what a camera that moves is known by. '' where it never named one.
  epr         text not null check (length(epr) <= 256),
  -- host or host:port that answered last; an RTSP camera's host
  address     text not null check (length(address) between 1 and 255),
  -- for people; an adopted camera's name as it gave it on that day
  name        text not null check (length(name) <= 64),
  -- identity as the camera states it, '' where unknown; shown, and never alone a reason to merge two cameras
  make        text not null default '' check (length(make) <= 64),
  model       text not null default '' check (length(model) <= 64),
  firmware    text not null default '' check (length(firmware) <= 64),
  serial      text not null default '' check (length(serial) <= 64),
  mac         text not null default '' check (length(mac) <= 64),
  adopted_us  integer not null check (adopted_us > 0),
  seen_us     integer not null check (seen_us >= adopted_us)
) strict, without rowid;

-- Where a stream was last found, so that recording goes on at once after a restart, before ONVIF has answered.
create table if not exists stream_source (
  camera_id   text not null references camera (id) on delete cascade,
  stream      text not null check (stream in ('main', 'sub')),
  -- rtsp://, without user and password
  url         text not null check (url like 'rtsp://%' and length(url) <= 2200),
  -- the one IP address that is connected to
  host        text not null check (length(host) between 2 and 45),
  port        integer not null check (port between 1 and 65535),
  primary key (camera_id, stream)
) strict, without rowid;

-- The same for streams over TLS. A table of its own, since an older simpang that reads this file must not find
-- an address that it cannot encrypt to.
create table if not exists tls_stream_source (
  camera_id   text not null references camera (id) on delete cascade,
  stream      text not null check (stream in ('main', 'sub')),
  -- rtsps://, without user and password
  url         text not null check (url like 'rtsps://%' and length(url) <= 2200),
  host        text not null check (length(host) between 2 and 45),
  port        integer not null check (port between 1 and 65535),
  primary key (camera_id, stream)
) strict, without rowid;

-- One sign-in that a camera refused: many lock after five, for every client at our address. Kept on disk so
-- that a restart does not spend the tries anew. Rows go when a sign-in is accepted, or after a day.
create table if not exists refused_sign_in (
  camera_id   text not null check (length(camera_id) between 1 and 32),
  time_us     integer not null check (time_us > 0),
  primary key (camera_id, time_us)
) strict, without rowid;
