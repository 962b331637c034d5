// What each refusal of the API means in plain words, and what to do about it.

// code → [what happened, what to do about it]
const WORDS = {
  // the photo
  not_an_image: ["Not a photo", "Choose a JPEG, PNG, WebP, BMP, GIF, AVIF, HEIC, TIFF or JPEG XL file."],
  unsupported_content_type: ["Not a photo", "The server does not take files of this kind."],
  image_broken: ["The photo is damaged", "The file cannot be decoded; it may be cut short. Save it again, or choose another copy."],
  no_image: ["The file is empty", "There is nothing in it to look at."],
  not_fetched: ["The photo's address does not answer", "Download the photo and choose the file."],
  body_too_large: ["The file is too large", "Save the photo with fewer pixels or a stronger compression."],
  image_too_large: ["The photo has too many pixels", "Scale it down and try again."],
  too_many_images: ["Too many photos at once", "Send fewer in one request."],
  too_many_faces: ["Too many faces at once", "Sort the photos in smaller piles."],
  // the face
  no_face: ["No face was found", "Choose a photo where the face is larger or clearer."],
  several_faces: ["There are several faces", "Say which one is meant, or choose a photo of one person."],
  no_such_face: ["The chosen face is not there", "Choose the face again."],
  low_quality: ["The photo is not good enough", "Choose a sharper, larger, brighter or more frontal one."],
  // people and collections
  collection_not_found: ["No such collection", "Somebody may have deleted it, or this API key does not reach it."],
  collection_exists: ["The name is taken", "There is a collection of this name with other rules; choose it in the list, or take another name."],
  subject_not_found: ["No such person", "Somebody may have deleted them."],
  subject_exists: ["The name is taken", "There is another person of this name in the collection."],
  medium_not_found: ["No such photo", "It was deleted, or this collection does not keep photos."],
  no_template: ["No photo is enrolled yet", "Enrol one first."],
  identity_conflict: ["This face is enrolled already", "It belongs to another person of the collection; nothing was stored."],
  model_mismatch: ["The collection belongs to another network", "Its people must be enrolled again."],
  invalid_name: ["The name is not valid", "It has 1 to 256 bytes, no / and no control characters."],
  invalid_subject: ["This cannot be stored", "The data of this person are not valid."],
  subject_too_large: ["Too much for one person", "Delete some of the person's photos first."],
  collection_damaged: ["Somebody deleted this collection or put it back", "It did not happen through this server. Ask who runs it; deleting the collection here frees its name."],
  subject_damaged: ["What is stored of this person is damaged", "Somebody changed it outside this server. Forget the person and enrol again."],
  invalid_export: ["The file cannot be opened", "It is not an export of a collection, or the passphrase is another."],
  // API keys
  unauthorized: ["A valid API key is needed", "Enter one under 'API key' at the top of the page; who runs this server has it."],
  forbidden: ["This API key may not do that", "Enter one with another role under 'API key' at the top of the page."],
  foreign_host: ["Not allowed", "Without API keys this server answers to its own machine only."],
  rate_limited: ["Too many requests", "This API key was used too often; wait a moment."],
  // the server
  queue_full: ["The server is busy", "More photos are waiting than it takes in."],
  too_many_bytes: ["The server is busy", "It is receiving too many photos at this moment; try again."],
  too_many_connections: ["The server is busy", "It serves as many connections as it may; try again."],
  not_ready: ["The server is not ready", "No worker is running yet; it may still be loading the network."],
  upload_timeout: ["The upload took too long", "The connection may be slow; try again."],
  head_timeout: ["The request took too long", "The connection may be slow; try again."],
  head_too_large: ["The request is too large", "Delete this site's cookies and try again."],
  deadline_exceeded: ["It took too long", "The server gave up waiting for the result; it may be under load."],
  analysis_failed: ["The analysis failed", "The network failed on this photo. The server's log has the reason."],
  worker_lost: ["The analysis failed", "The server lost a worker over this photo; it may be damaged."],
  queue_locked: ["The server's queue cannot be opened", "A worker lacks its key; ask who runs this server."],
  not_calibrated: ["The network is not calibrated", "Nothing tells what its similarities mean; ask who runs this server."],
  gallery_busy: ["Too many changes at once", "Others are changing the same; try again."],
  searcher_missing: ["A part of the collection does not answer", "Try again; ask who runs this server."],
  storage_full: ["The server's disk is full", "Nothing was lost; ask who runs this server."],
  storage_unavailable: ["The server's storage cannot be reached", "Try again; ask who runs this server."],
  vault_locked: ["The stored data cannot be opened", "The master key is another; ask who runs this server."],
  // jobs, which the pages do not use
  job_not_found: ["No such job", "Its results may have expired."],
  idempotency_conflict: ["This job was sent before", "Its photos or options were others; use a new Idempotency-Key."],
  invalid_archive: ["Not a zip archive", "Pack the photos again."],
  results_too_large: ["The results are too large", "Send fewer photos in one job, or ask for less."],
  // on the page, and on the way
  page_failed: ["The page failed", "Reload it and try again."],
  no_collection: ["No collection is open", "Choose a collection first, or make one."],
  unreachable: ["The server cannot be reached", "Check that it is running and that you are connected."],
};

const BY_STATUS = {
  401: WORDS.unauthorized,
  403: ["Not allowed", "This server does not let you do this."],
  413: WORDS.body_too_large,
  415: WORDS.not_an_image,
  422: ["The request is not valid", "The server cannot work with it as it is."],
  429: WORDS.queue_full,
  502: WORDS.unreachable,
  503: WORDS.not_ready,
  504: WORDS.deadline_exceeded,
};

/** {title, advice} in plain words for a Problem. */
export function explain(problem) {
  const [title, advice] = WORDS[problem.code] ?? BY_STATUS[problem.status] ?? ["The server failed", "Its log has the reason."];
  return { title, advice };
}
