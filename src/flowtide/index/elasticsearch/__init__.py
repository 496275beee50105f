"""The search index in Elasticsearch, by its official client; also for OpenSearch, as no X-Pack feature is used."""

from flowtide.index.elasticsearch.adapter import ElasticsearchIndex
from flowtide.index.elasticsearch.indices import Rotation

__all__ = ["ElasticsearchIndex", "Rotation"]
