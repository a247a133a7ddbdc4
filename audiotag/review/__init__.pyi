from audiotag.review.records import ClassCounts as ClassCounts
from audiotag.review.records import ConflictError as ConflictError
from audiotag.review.records import Page as Page
from audiotag.review.records import Query as Query
from audiotag.review.records import RecordingCounts as RecordingCounts
from audiotag.review.records import Reviewed as Reviewed
from audiotag.review.records import Verdict as Verdict
from audiotag.review.store import ReviewStore as ReviewStore
