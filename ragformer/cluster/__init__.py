"""A collection in several stores, its shards, and the Ray cluster that indexes and asks them.

layout.py   which document lies in which shard, and where
shard.py    one of them: the questions it answers alone
sharded.py  all of them as one Store: asked at once, merged exactly
index.py    files -> shards -> one run of `indexing` each -> one Report
engine.py   the same on Ray: the only module that imports it
"""
