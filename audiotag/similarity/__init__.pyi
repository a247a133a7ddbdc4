from audiotag.similarity.index import Match as Match
from audiotag.similarity.index import SimilarityIndex as SimilarityIndex
