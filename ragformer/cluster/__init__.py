"""A collection in several stores, its shards, and the Ray cluster that indexes and asks them.

layout.py   which document lies in which shard, and where
shard.py    one of them: the questions it answers alone
sharded.py  all of them as one Store: asked at once, merged exactly
index.py    files -> shards -> one run of `indexing` each -> one Report

On Ray, and nothing else here imports it:

connect.py    the way into a cluster
engine.py     a task for each shard's run; embedding.py: vectors from an actor on a GPU
actors.py     shards asked there, by as many replicas (replica.py) as are wanted
"""
