-- Whether anything can be written now: a full memory or disk, a replica, or an account without rights refuses.
redis.call('TIME')
return redis.call('SET', KEYS[1], '1', 'PX', 60000)
