// Puts the text of a file that somebody chooses into the form's field. It goes nowhere before the form is sent.
"use strict";

for (const chooser of document.querySelectorAll("input[type=file][data-into]")) {
  const field = document.getElementById(chooser.dataset.into);
  chooser.addEventListener("change", async () => {
    const [file] = chooser.files;
    if (file) {
      field.value = await file.text();
      field.focus();
    }
  });
}
