// The faces of a video: the server's answer, or that of the job which it makes of a long video.

import { call, photoForm, Problem } from "./api.js";
import { pause, patiently } from "./patience.js";

const LOOK_SECONDS = 1; // between two looks at a job

/** The tracks of a video. `onWait` gets words to show while a job works. Throws Problem, or AbortError when told to stop. */
export async function followVideo(file, signal, onWait) {
  const answer = await call("v1/videos", { method: "POST", body: photoForm(file), signal });
  if (!answer.status) return answer;
  const path = `v1/jobs/${encodeURIComponent(answer.id)}`;
  try {
    return await tracksOf(path, signal, onWait);
  } finally {
    void call(path, { method: "DELETE" }).catch(() => {}); // nothing of the video stays behind, whatever became of it
  }
}

async function tracksOf(path, signal, onWait) {
  onWait("A long video: following its faces …");
  for (;;) {
    const job = await patiently(() => call(path, { signal }), signal, onWait);
    if (job.status !== "done") {
      await pause(LOOK_SECONDS, signal);
      continue;
    }
    const [result] = job.results;
    if (result.error) throw new Problem(result.error);
    return result.video;
  }
}
