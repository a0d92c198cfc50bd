"""The database that business data, stored answers and history share: connections and schema versions."""
