"""Every call of compreface-sdk, in an environment that has it: URL, port, key, a stranger's key and a folder of photos.

Writes the answers as JSON. Options stand beside each call, since the SDK keeps those of its services.
"""

import json
import sys

from compreface import CompreFace

url, port, key, wrong, folder = sys.argv[1:]
PLUGINS = {
    "limit": 0,
    "det_prob_threshold": 0.5,
    "face_plugins": "age,gender,landmarks,calculator,mask",
    "status": True,
}
service = CompreFace(url, port)
recognition = service.init_face_recognition(key)
faces, subjects = recognition.get_face_collection(), recognition.get_subjects()
photo = {name: f"{folder}/{name}.png" for name in ("ada1", "ada2", "bob", "both", "nobody")}
answers = {
    "nobody enrolled": recognition.recognize(photo["ada1"]),
    "no subjects": subjects.list(),
    "no faces": faces.list(),
    "added": faces.add(photo["ada1"], "Ada Lovelace"),
    "added two faces": faces.add(photo["both"], "Ada Lovelace"),
    "added no face": faces.add(photo["nobody"], "Ada Lovelace"),
    "subject": subjects.add("Bob"),
    "subject again": subjects.add("Bob"),
    "added to subject": faces.add(photo["bob"], "Bob", {"det_prob_threshold": 0.8}),
    "faces": faces.list(),
    "subjects": subjects.list(),
    "recognized": recognition.recognize(photo["both"], PLUGINS | {"prediction_count": 2}),
    "recognized one": recognition.recognize(photo["both"], {"limit": 1}),
    "no face": recognition.recognize(photo["nobody"]),
    "no prediction": recognition.recognize(photo["ada1"], {"prediction_count": 0}),
}
image = answers["added"]["image_id"]
answers |= {
    "verified": faces.verify(photo["ada2"], image, PLUGINS),
    "not verified": faces.verify(photo["bob"], image),
    "verified with none": faces.verify(photo["ada2"], "00000000-0000-0000-0000-000000000000"),
    "detected": service.init_face_detection(key).detect(photo["both"], PLUGINS),
    "detected none": service.init_face_detection(key).detect(photo["nobody"]),
    "compared": service.init_face_verification(key).verify(photo["ada1"], photo["both"], PLUGINS),
    "compared two": service.init_face_verification(key).verify(photo["both"], photo["ada1"]),
    "renamed": subjects.update("Ada Lovelace", "Ada"),
    "renamed none": subjects.update("Ada Lovelace", "Ada"),
    "merged": subjects.update("Ada", "Bob"),
    "merged subjects": subjects.list(),
    "merged faces": faces.list(),
    "deleted": faces.delete(image),
    "deleted again": faces.delete(image),
    "deleted of subject": faces.delete_all("Bob"),
    "deleted of nobody": faces.delete_all("Eve"),
    "subject to delete": subjects.add("Eve"),
    "deleted subject": subjects.delete("Eve"),
    "deleted no subject": subjects.delete("Eve"),
    "deleted all": subjects.delete_all(),
    "a stranger's key": service.init_face_recognition(wrong).recognize(photo["ada1"]),
}
json.dump(answers, sys.stdout)
